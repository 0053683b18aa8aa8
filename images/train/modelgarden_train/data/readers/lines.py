"""The lines of a text, one in memory at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

from modelgarden_train.data.readers.records import Record
from modelgarden_train.data.rows import RowError
from modelgarden_train.data.values import LONGEST_ROW_BYTES, TOO_LONG

_SKIPPED_BYTES: Final = 1024**2


def read_lines(stream: io.BufferedIOBase) -> Iterator[Record]:
    """Yield the lines that are not blank; one that is too long is not read."""
    for number, line in whole_lines(stream):
        if line is None:
            yield Record(number, RowError(TOO_LONG), 0)
        elif line.strip():
            yield Record(number, line, len(line))


def whole_lines(stream: io.BufferedIOBase) -> Iterator[tuple[int, bytes | None]]:
    """Yield all lines with their numbers, None for one that is too long."""
    number = 0
    while line := stream.readline(LONGEST_ROW_BYTES + 1):
        number += 1
        if len(line) > LONGEST_ROW_BYTES and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(_SKIPPED_BYTES)
            yield number, None
        else:
            yield number, line
