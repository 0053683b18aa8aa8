"""Type SQL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from modelgarden_train.rewards.judge.errors import AnswerError, RewardError
from modelgarden_train.rewards.judge.queries import QueryJudge, is_ordered
from tests.unit.train.rewards.judge.completions import make_completion

SHOP = """
CREATE TABLE people (id INTEGER, name TEXT, height REAL);
INSERT INTO people VALUES (1, 'Ada', 1.7), (2, 'Grace', 1.6), (3, 'Alan', 1.8), (3, 'Alan', 1.8);
CREATE TABLE numbers (n REAL);
INSERT INTO numbers VALUES (0.1), (0.2), (0.3);
CREATE VIRTUAL TABLE notes USING fts5(text);
INSERT INTO notes VALUES ('the quick brown fox');
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "a shop?.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SHOP)
    return path


@pytest.fixture
def judge(database: Path) -> Iterator[QueryJudge]:
    made = QueryJudge(database, seconds=2.0)
    yield made
    made.close()


def worth(judge: QueryJudge, text: str, answer: str) -> float:
    return judge([make_completion(text, answer=answer)])[0]


NAMES = "SELECT name FROM people WHERE id < 3"


@pytest.mark.parametrize(
    ("text", "answer", "want"),
    [
        pytest.param(NAMES, NAMES, 1.0, id="the same"),
        pytest.param("select p.name from people p where p.id in (2, 1);", NAMES, 1.0, id="another way"),
        pytest.param(f"```sql\n{NAMES}\n```", NAMES, 1.0, id="in a fence"),
        pytest.param(NAMES + " ORDER BY id DESC", NAMES, 1.0, id="in another order"),
        pytest.param(NAMES + " ORDER BY id DESC", NAMES + " ORDER BY id", 0.0, id="in the wrong order"),
        pytest.param("SELECT name, id FROM people WHERE id < 3", NAMES, 0.0, id="a column more"),
        pytest.param("SELECT DISTINCT id FROM people", "SELECT id FROM people", 0.0, id="a row less"),
        pytest.param("SELECT id * 1.0 FROM people", "SELECT id FROM people", 1.0, id="1 is 1.0"),
        pytest.param("SELECT 0.1 + 0.2 + 0.3", "SELECT 0.3 + 0.2 + 0.1", 1.0, id="sums in another order"),
        pytest.param("SELECT '1'", "SELECT 1", 0.0, id="a text is no number"),
        pytest.param("SELECT NULL", "SELECT NULL", 1.0, id="nothing"),
        pytest.param("SELECT x'ff'", "SELECT CAST(x'ff' AS TEXT)", 0.0, id="bytes are no text"),
        pytest.param("SELECT name FROM person", NAMES, 0.0, id="wrong"),
        pytest.param("", NAMES, 0.0, id="empty"),
        pytest.param("-- nothing", NAMES, 0.0, id="only a comment"),
        pytest.param("SELECT '\x00\ud800'", NAMES, 0.0, id="characters that SQLite does not take"),
        pytest.param(NAMES + "; " + NAMES, NAMES, 0.0, id="two statements"),
        pytest.param("I would ask for the names.", NAMES, 0.0, id="prose"),
        pytest.param(
            "SELECT text FROM notes WHERE notes MATCH 'fox'", "SELECT text FROM notes", 1.0, id="text search"
        ),
    ],
)
def test_a_query_is_worth_1_where_it_gives_the_rows_of_the_answer(
    judge: QueryJudge, text: str, answer: str, want: float
) -> None:
    assert worth(judge, text, answer) == want


@pytest.mark.parametrize(
    "text",
    [
        "DROP TABLE people",
        "DELETE FROM people",
        "CREATE TEMP TABLE mine AS SELECT 1",
        "ATTACH '/tmp/other.sqlite' AS other",
        "PRAGMA query_only = 0",
        "PRAGMA hard_heap_limit = 0",
        "SELECT * FROM pragma_database_list",
        "SELECT load_extension('/tmp/mine.so')",
        "VACUUM INTO '/tmp/copy.sqlite'",
        "BEGIN",
    ],
)
def test_a_query_may_read_and_nothing_else(judge: QueryJudge, database: Path, text: str) -> None:
    before = database.read_bytes()

    with pytest.raises(AnswerError):
        worth(judge, NAMES, text)

    assert worth(judge, text, NAMES) == 0.0
    assert database.read_bytes() == before
    assert worth(judge, NAMES, NAMES) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
            id="time",
        ),
        pytest.param(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n) SELECT * FROM n ORDER BY 1",
            id="memory",
        ),
        pytest.param("SELECT randomblob(1000000000)", id="a value"),
        pytest.param("SELECT printf('%1000000000d', 1)", id="a text"),
        pytest.param(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) SELECT i FROM n",
            id="rows",
        ),
    ],
)
def test_a_query_that_takes_too_much_is_worth_0(judge: QueryJudge, text: str) -> None:
    began = time.monotonic()

    assert worth(judge, text, NAMES) == 0.0
    assert time.monotonic() - began < 60
    assert worth(judge, NAMES, NAMES) == 1.0


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        ("SELECT name FROM person", "no such table: person"),
        ("Ada", "syntax error"),
        ("", "gives no rows"),
        (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
            "longer than 2 s",
        ),
        (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10001) SELECT i FROM n",
            "more than 10000 rows",
        ),
    ],
)
def test_an_answer_that_is_no_query_is_told(judge: QueryJudge, answer: str, want: str) -> None:
    with pytest.raises(AnswerError, match=want):
        worth(judge, answer, answer)


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    text = tmp_path / "text.sqlite"
    text.write_text("id,name\n1,Ada\n" * 100)
    for path in (text, tmp_path / "missing.sqlite"):
        with pytest.raises(RewardError, match="no SQLite database"):
            QueryJudge(path, seconds=1.0)


@pytest.mark.parametrize(
    ("query", "want"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("select a from t order\n  by a limit 3", True),
        ("```sql\nSELECT a FROM t ORDER BY a\n```", True),
        ("SELECT a FROM t", False),
        ("SELECT a FROM (SELECT a FROM t ORDER BY a LIMIT 3)", False),
        ("SELECT row_number() OVER (ORDER BY a) FROM t", False),
        ("SELECT 'order by' FROM t", False),
        ('SELECT "order by ""x" FROM t', False),
        ("SELECT a FROM t -- order by a", False),
        ("SELECT a /* ( */ FROM t ORDER BY a", True),
        ("SELECT border, by FROM reorder", False),
    ],
)
def test_only_an_order_of_the_whole_counts(query: str, want: bool) -> None:
    assert is_ordered(query) == want
