"""When a generated query counts as right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hack.demo.score import Database, QueryError

SCRIPT = """
CREATE TABLE pets (name TEXT, kind TEXT, age INTEGER);
INSERT INTO pets VALUES ('Rex', 'dog', 4), ('Tom', 'cat', 9), ('Kit', 'cat', 2), ('Bob', 'dog', 4);
"""
CATS = "SELECT name FROM pets WHERE kind = 'cat'"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database(SCRIPT)
    yield database
    database.close()


@pytest.mark.parametrize(
    ("predicted", "expected", "want"),
    [
        pytest.param(CATS, CATS, True, id="the same query"),
        pytest.param(
            "select name from pets where not kind = 'dog';", CATS, True, id="another query, same rows"
        ),
        pytest.param(f"{CATS} ORDER BY age", CATS, True, id="an order that nobody asked for"),
        pytest.param(CATS, f"{CATS} ORDER BY age", False, id="the asked order is missing"),
        pytest.param("SELECT name FROM pets", CATS, False, id="too many rows"),
        pytest.param("SELECT kind FROM pets", "SELECT DISTINCT kind FROM pets", False, id="rows twice"),
        pytest.param("SELECT name, age FROM pets", "SELECT name FROM pets", False, id="a column too many"),
        pytest.param("SELECT age, name FROM pets", "SELECT name, age FROM pets", False, id="columns swapped"),
        pytest.param("SELECT name FROM pets WHERE kind = 'cow'", CATS, False, id="no rows"),
        pytest.param("SELECT 19 / 4.0", "SELECT AVG(age) FROM pets", True, id="an average"),
        pytest.param("SELECT '4.75'", "SELECT AVG(age) FROM pets", False, id="a number as text"),
        pytest.param("", CATS, False, id="nothing"),
        pytest.param("the cats are Tom and Kit", CATS, False, id="prose"),
        pytest.param(f"{CATS}; {CATS}", CATS, False, id="two statements"),
        pytest.param("SELECT name FROM pets WHERE kind = '\udc80\0'", CATS, False, id="not text"),
        pytest.param(ENDLESS, CATS, False, id="a query without end"),
        pytest.param("SELECT zeroblob(999999999)", CATS, False, id="a huge value"),
    ],
)
def test_an_answer_is_right_when_it_returns_the_expected_rows(
    database: Database, predicted: str, expected: str, want: bool
) -> None:
    assert database.is_right(predicted, expected) is want


@pytest.mark.parametrize(
    "predicted",
    ["DELETE FROM pets", "DROP TABLE pets", "ATTACH 'other.db' AS other", "PRAGMA writable_schema = 1"],
)
def test_a_query_can_only_read(database: Database, predicted: str) -> None:
    assert not database.is_right(predicted, CATS)
    assert len(database.rows("SELECT * FROM pets")) == 4


def test_a_bad_reference_is_an_error(database: Database) -> None:
    with pytest.raises(QueryError):
        database.is_right(CATS, "SELECT name FROM cats")


def test_a_query_without_end_leaves_the_database_usable(database: Database) -> None:
    assert not database.is_right(ENDLESS, CATS)
    assert database.is_right(CATS, CATS)
