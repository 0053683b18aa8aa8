"""What every reader yields: the rows of a file as they stand there, with their numbers. Pure."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from modelgarden_pod.errors import UserError
from modelgarden_train.data.rows import RowError
from modelgarden_train.data.values import parse_object

Unit = Literal["line", "element", "row"]
"""What the rows of a file are counted in: the lines of a text, the elements of a JSON list, the rows of a table."""


class Record(NamedTuple):
    """One row of a file."""

    number: int
    """Its line, element or row, counted from one; of several lines the first."""
    value: bytes | dict[str, Any] | RowError
    """The text of a JSON object, the fields of a table's row, or what keeps it from being read."""
    size: int
    """About what it takes in memory, in bytes."""

    def fields(self) -> dict[str, Any]:
        """Return its fields.

        Raises:
            RowError: it cannot be read.
        """
        if isinstance(self.value, RowError):
            raise self.value
        return parse_object(self.value) if isinstance(self.value, bytes) else self.value


def unreadable(name: str, why: str) -> UserError:
    """Return the error of a file that cannot be read on."""
    return UserError("DatasetInvalid", f"{name}: {why}")
