"""A SELECT statement in parts, and the small mistakes that turn it into a wrong one.

The generator keeps a question only if the shop's rows make every such mistake visible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

Value = int | str
Operator = Literal["=", "<", "<=", ">", ">="]

_TURNED: Final[dict[Operator, Operator]] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True)
class Filter:
    """One condition of a WHERE clause."""

    column: str
    operator: Operator
    value: Value

    def sql(self) -> str:
        """Return the condition as SQL."""
        value = f"'{self.value}'" if isinstance(self.value, str) else self.value
        return f"{self.column} {self.operator} {value}"

    def near_misses(self) -> Iterator[Filter]:
        """Yield the condition with its number off by one or its direction turned."""
        if isinstance(self.value, int):
            yield replace(self, value=self.value - 1)
            yield replace(self, value=self.value + 1)
        if self.operator in _TURNED:
            yield replace(self, operator=_TURNED[self.operator])


@dataclass(frozen=True)
class Query:
    """A SELECT statement over the shop."""

    select: str
    source: str
    where: tuple[Filter, ...]
    group_by: str | None = None
    order_by: str | None = None
    descending: bool = False
    limit: int | None = None

    def sql(self) -> str:
        """Return the statement."""
        parts = ["SELECT", self.select, "FROM", self.source]
        if self.where:
            parts.append("WHERE " + " AND ".join(one.sql() for one in self.where))
        if self.group_by:
            parts.append(f"GROUP BY {self.group_by}")
        if self.order_by:
            parts.append(f"ORDER BY {self.order_by}" + (" DESC" if self.descending else ""))
        if self.limit:
            parts.append(f"LIMIT {self.limit}")
        return " ".join(parts)

    def kind(self) -> str:
        """Return the statement without its values: what questions of one kind share."""
        blank = tuple(replace(one, value="?") for one in self.where)
        return replace(self, where=blank, limit=self.limit and 1).sql()

    def near_misses(self) -> Iterator[Query]:
        """Yield the statement with one number off by one, one filter left out, or its order lost or turned."""
        for index, one in enumerate(self.where):
            before, after = self.where[:index], self.where[index + 1 :]
            for miss in one.near_misses():
                yield replace(self, where=(*before, miss, *after))
            yield replace(self, where=(*before, *after))
        if self.order_by:
            yield replace(self, order_by=None)
            yield replace(self, descending=not self.descending)
        if self.limit:
            yield replace(self, limit=self.limit + 1)
        if self.limit and self.limit > 1:
            yield replace(self, limit=self.limit - 1)

    def tie_breaks(self) -> tuple[Query, Query]:
        """Return the statement with rows that tie in one order and in the other."""
        first = f"{self.order_by} DESC" if self.descending else f"{self.order_by}"
        return (
            replace(self, order_by=f"{first}, id", descending=False),
            replace(self, order_by=f"{first}, id", descending=True),
        )
