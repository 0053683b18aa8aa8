"""Decides whether a generated query is right: it must return the rows that the reference query returns.

Order counts only where the reference asks for one. Used by the dataset's generator, the demo and the tests.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections import Counter
from typing import Final

Cell = str | int | float | bytes | None
Row = tuple[Cell, ...]

MAX_ROWS: Final = 10_000
MAX_INSTRUCTIONS: Final = 2_000_000
MAX_TEXT_BYTES: Final = 1_000_000
INSTRUCTIONS_PER_CHECK: Final = 10_000
SIGNIFICANT_DECIMALS: Final = 6

_READS: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)


class QueryError(Exception):
    """The query is not valid, not a read, or takes too much."""


class Database:
    """A SQLite database in memory that answers read-only queries within limits."""

    def __init__(self, script: str) -> None:
        """Load the tables and rows of an SQL script."""
        self._connection = sqlite3.connect(":memory:")
        self._connection.executescript(script)
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_TEXT_BYTES)
        self._connection.set_authorizer(_only_reads)

    def close(self) -> None:
        """Free the database."""
        self._connection.close()

    def rows(self, query: str) -> list[Row]:
        """Return the rows of a query in the order it gives them; raises QueryError."""
        budget = iter(range(MAX_INSTRUCTIONS // INSTRUCTIONS_PER_CHECK))
        self._connection.set_progress_handler(lambda: next(budget, None) is None, INSTRUCTIONS_PER_CHECK)
        try:
            rows = self._connection.execute(query).fetchmany(MAX_ROWS + 1)
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
            raise QueryError(str(error)) from error
        finally:
            self._connection.set_progress_handler(None, 0)
        if len(rows) > MAX_ROWS:
            raise QueryError(f"the query returns more than {MAX_ROWS} rows")
        return [tuple(_comparable(cell) for cell in row) for row in rows]

    def is_right(self, predicted: str, expected: str) -> bool:
        """Tell whether the predicted query returns the expected query's rows; a bad prediction is just wrong.

        An empty answer is right only where the expected one is empty. Raises QueryError for a bad expected query.
        """
        want = self.rows(expected)
        try:
            got = self.rows(predicted)
        except QueryError:
            return False
        return same_rows(got, want, ordered=asks_for_order(expected))


def same_rows(one: list[Row], other: list[Row], *, ordered: bool) -> bool:
    """Compare two answers row by row, or as multisets where order does not count."""
    return one == other if ordered else Counter(one) == Counter(other)


def asks_for_order(query: str) -> bool:
    """Tell whether the order of the rows is part of the answer."""
    return re.search(r"\bORDER\s+BY\b", query, re.IGNORECASE) is not None


def _only_reads(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY


def _comparable(cell: Cell) -> Cell:
    """Round averages, which depend on the order of summation in their last digits."""
    if isinstance(cell, float) and math.isfinite(cell):
        return round(cell, SIGNIFICANT_DECIMALS)
    return cell
