"""The quickstart's dataset: what is shipped, and that a wrong query cannot look right on its rows."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator

import pytest

from hack.demo import shop
from hack.demo.dataset import DATASET_FILE, QUICKSTART, SCHEMA_FILE, SEED, is_telling
from hack.demo.query import Filter, Query
from hack.demo.questions import FRAMES, draw
from hack.demo.score import Database

ROWS = [json.loads(line) for line in (QUICKSTART / DATASET_FILE).read_text().splitlines()]


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    database = Database((QUICKSTART / SCHEMA_FILE).read_text())
    yield database
    database.close()


def test_there_are_enough_rows_and_none_twice() -> None:
    assert len(ROWS) >= 1000
    assert all(row.keys() == {"prompt", "completion"} for row in ROWS)
    assert len({row["prompt"] for row in ROWS}) == len(ROWS)
    assert len({row["completion"] for row in ROWS}) == len(ROWS)


def test_every_query_has_an_answer(database: Database) -> None:
    assert all(database.rows(row["completion"]) for row in ROWS)


def test_a_query_is_hardly_ever_right_for_another_question(database: Database) -> None:
    random_ = random.Random(SEED)
    pairs = [random_.sample(ROWS, 2) for _ in range(2000)]
    right = sum(database.is_right(one["completion"], other["completion"]) for one, other in pairs)
    assert right <= len(pairs) * 0.01


def test_the_shop_is_the_same_on_every_machine() -> None:
    assert shop.schema_sql(SEED) == (QUICKSTART / SCHEMA_FILE).read_text()


def test_questions_and_queries_name_the_same_values() -> None:
    random_ = random.Random(1)
    for frame in FRAMES:
        for _ in range(20):
            question, query = draw(frame, random_)
            assert all(str(one.value) in question for one in query.where)
            assert query.limit is None or str(query.limit) in question


def test_near_misses_are_the_small_mistakes() -> None:
    query = Query("name", "customers", (Filter("age", ">", 30),), order_by="age", limit=2)
    assert {miss.sql() for miss in query.near_misses()} == {
        "SELECT name FROM customers ORDER BY age LIMIT 2",
        "SELECT name FROM customers WHERE age < 30 ORDER BY age LIMIT 2",
        "SELECT name FROM customers WHERE age > 29 ORDER BY age LIMIT 2",
        "SELECT name FROM customers WHERE age > 31 ORDER BY age LIMIT 2",
        "SELECT name FROM customers WHERE age > 30 LIMIT 2",
        "SELECT name FROM customers WHERE age > 30 ORDER BY age DESC LIMIT 2",
        "SELECT name FROM customers WHERE age > 30 ORDER BY age LIMIT 3",
        "SELECT name FROM customers WHERE age > 30 ORDER BY age LIMIT 1",
    }


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(Query("name", "t", (Filter("age", ">", 90),)), id="nobody"),
        pytest.param(Query("COUNT(*)", "t", (Filter("age", ">", 90),)), id="a count of nobody"),
        pytest.param(Query("AVG(age)", "t", (Filter("age", ">", 90),)), id="an average of nobody"),
        pytest.param(Query("name", "t", (Filter("age", ">", 5),)), id="the filter changes nothing"),
        pytest.param(Query("name", "t", (Filter("age", ">", 15),)), id="another number gives the same"),
        pytest.param(Query("name", "t", (), order_by="age", limit=1), id="two are the youngest"),
    ],
)
def test_a_question_whose_answer_tells_nothing_is_dropped(query: Query) -> None:
    database = Database(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, age INTEGER);"
        "INSERT INTO t VALUES (1, 'a', 10), (2, 'b', 10), (3, 'c', 20), (4, 'd', 30);"
    )
    assert not is_telling(query, database.rows(query.sql()), database)


def test_a_telling_question_is_kept() -> None:
    database = Database(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, age INTEGER);"
        "INSERT INTO t VALUES (1, 'a', 10), (2, 'b', 11), (3, 'c', 12), (4, 'd', 13);"
    )
    query = Query("name", "t", (Filter("age", ">", 11),))
    assert is_telling(query, database.rows(query.sql()), database)


def test_the_schema_is_plain_sqlite() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript((QUICKSTART / SCHEMA_FILE).read_text())
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
