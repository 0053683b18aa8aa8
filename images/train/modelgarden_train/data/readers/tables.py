"""The rows of a CSV file: texts under the names of its first row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final

from modelgarden_train.data.readers.lines import whole_lines
from modelgarden_train.data.readers.records import Record, unreadable
from modelgarden_train.data.rows import RowError
from modelgarden_train.data.values import LONGEST_ROW_BYTES, TOO_LONG

_DELIMITERS: Final = ",;\t|"


def read_table(stream: io.BufferedIOBase, name: str) -> Iterator[Record]:
    """Yield the rows behind the first, which names the columns; what parts them is what it has most of: , ; | or tab.

    Raises:
        UserError: DatasetInvalid, the first row is none of different names.
    """
    csv.field_size_limit(LONGEST_ROW_BYTES)
    lines = _Lines(stream)
    reader = csv.reader(lines, delimiter=_delimiter(stream), strict=True)
    try:
        columns = next(reader, [])
    except (csv.Error, RowError) as error:
        raise unreadable(name, f"the first row, with the names of the columns: {error}") from error
    if len(set(columns)) < len(columns):
        raise unreadable(name, "the first row names two columns alike; give each its own name")
    while True:
        lines.begin()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except RowError as error:
            yield Record(lines.first, error, 0)
        except csv.Error as error:
            yield Record(lines.first, RowError(f"the row is no CSV: {error}"), 0)
        else:
            if fields:
                yield _record(lines, columns, fields)


def _record(lines: _Lines, columns: list[str], fields: list[str]) -> Record:
    if len(fields) != len(columns):
        why = f"the row has {len(fields)} fields, and the first row names {len(columns)} columns"
        return Record(
            lines.first, RowError(f"{why}; a field with the delimiter or a line end needs quotes"), 0
        )
    return Record(lines.first, dict(zip(columns, fields, strict=True)), lines.size)


def _delimiter(stream: io.BufferedIOBase) -> str:
    peek = getattr(stream, "peek", None)
    first = peek(1).partition(b"\n")[0].decode(errors="replace") if peek else ""
    return max(_DELIMITERS, key=first.count)


class _Lines:
    """The lines of a table as text; those of one row are counted and bounded. Goes on after what it raises."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._lines = whole_lines(stream)
        self._starts = True
        self.first = 1
        self.size = 0

    def begin(self) -> None:
        """Say that the next line begins a row."""
        self._starts, self.size = True, 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        number, line = next(self._lines)
        if self._starts:
            self.first, self._starts = number, False
        if line is None:
            raise RowError(TOO_LONG)
        self.size += len(line)
        if self.size > LONGEST_ROW_BYTES:
            raise RowError(f"{TOO_LONG}, or close its quotes")
        try:
            return line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            place = f"byte {error.start + 1} of line {number}"
            raise RowError(f"{place} is not UTF-8; save the file as UTF-8") from error
