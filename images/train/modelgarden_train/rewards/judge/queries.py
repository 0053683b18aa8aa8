"""Type SQL: 1 for a query that gives the rows which the row's answer gives.

A completion is a stranger's SQL: it may read the database and no more, for a time and with memory that are
limited.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from modelgarden_train.rewards.completion import Completion
from modelgarden_train.rewards.judge.errors import AnswerError, RewardError
from modelgarden_train.rewards.judge.fences import unfenced

MOST_ROWS: Final = 10_000
_MOST_BYTES: Final = 1_000_000
"""Of a value, a row or a query."""
_MOST_MEMORY: Final = 128 * 1024**2
_MOST_PATTERN: Final = 128
"""Characters of a pattern of LIKE, for each of which one step may go over a text."""
_STEPS: Final = 1_000
"""Of SQLite's machine, after which the time is looked at. One may be long: then the process is ended from outside."""
_DIGITS: Final = 12
"""Of fractions, as a sum depends on the order that a plan adds in."""
_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: _MOST_BYTES,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: _MOST_BYTES,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: _MOST_PATTERN,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_ALLOWED: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_OF_FTS5: Final = "data_version"
"""A pragma that full-text search asks for itself, and that tells nothing."""
_WORDS: Final = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/|[()]|\border\s+by\b""",
    re.IGNORECASE | re.DOTALL,
)

Row = tuple[Any, ...]


class QueryFailed(Exception):  # noqa: N818 -- says what is so
    """A query gives no rows to compare."""


class QueryJudge:
    """Runs completions as queries."""

    def __init__(self, database: Path, *, seconds: float) -> None:
        """Open the database; a query ends after these seconds.

        Raises:
            RewardError: it is no SQLite database.
        """
        self._seconds = seconds
        self._until = 0.0
        self._connection = _opened(database)
        self._connection.set_progress_handler(self._is_late, _STEPS)
        self._wanted = lru_cache(maxsize=1024)(self._rows)

    def __call__(self, completions: Sequence[Completion]) -> list[float]:
        """Return the worth of each completion.

        Raises:
            AnswerError: an answer is no query that works.
        """
        return [float(self._agrees(completion)) for completion in completions]

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _agrees(self, completion: Completion) -> bool:
        try:
            wanted = self._wanted(completion.answer)
        except QueryFailed as error:
            raise AnswerError(f"is no query that works: {error}") from error
        if completion.text == completion.answer:
            return True
        try:
            return same_rows(self._rows(completion.text), wanted, ordered=is_ordered(completion.answer))
        except QueryFailed:
            return False

    def _rows(self, text: str) -> list[Row]:
        self._until = time.monotonic() + self._seconds
        try:
            cursor = self._connection.execute(unfenced(text, "sql"))
            rows = cursor.fetchmany(MOST_ROWS + 1)
        except (sqlite3.Error, sqlite3.Warning, MemoryError, ValueError) as error:
            raise QueryFailed(self._why(error)) from error
        if cursor.description is None:
            raise QueryFailed("it gives no rows")
        cursor.close()
        if len(rows) > MOST_ROWS:
            raise QueryFailed(f"it gives more than {MOST_ROWS} rows")
        return rows

    def _why(self, error: Exception) -> str:
        if time.monotonic() >= self._until:
            return f"it takes longer than {self._seconds:g} s"
        return str(error) or "it takes too much memory"

    def _is_late(self) -> bool:
        return time.monotonic() >= self._until


def _opened(database: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(f"file:{quote(str(database))}?mode=ro&immutable=1", uri=True)
        connection.isolation_level = None
        for limit, most in _LIMITS.items():
            connection.setlimit(limit, most)
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA hard_heap_limit = {_MOST_MEMORY}")
        _connect_tables(connection)
    except sqlite3.Error as error:
        raise RewardError(f"it is no SQLite database that can be read: {error}") from error
    connection.text_factory = lambda value: value.decode(errors="surrogateescape")
    connection.set_authorizer(_may)
    return connection


def _connect_tables(connection: sqlite3.Connection) -> None:
    """Look at each table once, as a virtual one makes itself known by statements that a query may not use."""
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        with contextlib.suppress(
            sqlite3.Error
        ):  # of a module that is not there: a query that needs it says so
            quoted = name.replace('"', '""')
            connection.execute(f'SELECT 1 FROM "{quoted}" LIMIT 0')  # noqa: S608


def _may(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    allowed = action in _ALLOWED or (action == sqlite3.SQLITE_PRAGMA and first == _OF_FTS5 and second is None)
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def same_rows(found: Sequence[Row], wanted: Sequence[Row], *, ordered: bool) -> bool:
    """Tell whether rows are the same, in any order where they are not ordered. Pure."""
    if len(found) != len(wanted):
        return False
    ours, theirs = ([tuple(map(_plain, row)) for row in rows] for rows in (found, wanted))
    return ours == theirs if ordered else Counter(ours) == Counter(theirs)


def _plain(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def is_ordered(query: str) -> bool:
    """Tell whether a query has an ORDER BY that is not within parentheses. Pure."""
    depth = 0
    for found in _WORDS.finditer(unfenced(query, "sql")):
        word = found[0]
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0 and word[0] in "oO":
            return True
    return False
