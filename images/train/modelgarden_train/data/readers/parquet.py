"""The rows of a Parquet file, a few in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from modelgarden_train.data.readers.records import Record, unreadable
from modelgarden_train.data.rows import RowError
from modelgarden_train.data.values import LONGEST_ROW_BYTES, TOO_DEEP, TOO_LONG

_BATCH_BYTES: Final = 8 * 1024**2
_MOST_ROWS: Final = 1024
_READ_BYTES: Final = 1024**2
_DEEPEST: Final = 64
_FIXED_BYTES: Final = 16
"""Taken for a value whose length does not vary."""


def read_parquet(path: Path, name: str) -> Iterator[Record]:
    """Yield the rows.

    Raises:
        UserError: DatasetInvalid, the file is cut off, damaged or encrypted.
    """
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path, buffer_size=_READ_BYTES, pre_buffer=False) as opened:
            texts = [
                field.name
                for field in opened.schema_arrow
                if pyarrow.types.is_string(field.type) or pyarrow.types.is_binary(field.type)
            ]
            rows = _rows_at_a_time(opened.metadata)
        # A text that stands in many rows is in memory once: written out, a small file would fill any memory.
        with pyarrow.parquet.ParquetFile(
            path, buffer_size=_READ_BYTES, pre_buffer=False, read_dictionary=texts
        ) as file:
            for batch in file.iter_batches(batch_size=rows, use_threads=False):
                for place in range(batch.num_rows):
                    number += 1
                    yield _record(batch, place, number)
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError) as error:
        what = f"the Parquet file is cut off, damaged or encrypted; write it again ({_first_line(error)})"
        raise unreadable(name, what) from error


def _record(batch: Any, place: int, number: int) -> Record:
    try:
        value = {
            name: column[place].as_py()
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
        return Record(number, value, _size(value))
    except UnicodeDecodeError as error:
        return Record(number, RowError(f"a text is not UTF-8: {error.reason}; write it as UTF-8"), 0)
    except RowError as error:
        return Record(number, error, 0)
    except (ValueError, OverflowError) as error:
        return Record(number, RowError(f"a value cannot be read: {_first_line(error)}"), 0)


def _rows_at_a_time(metadata: Any) -> int:
    """Return as many rows as take little memory, by what the file says of its size."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    longest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=1.0)
    return max(1, min(_MOST_ROWS, int(_BATCH_BYTES / max(1.0, longest))))


def _size(value: Any, depth: int = 0) -> int:
    """Return about what a value takes in memory.

    Raises:
        RowError: it is too large or nested too deeply.
    """
    if depth > _DEEPEST:
        raise RowError(TOO_DEEP)
    if isinstance(value, str | bytes):
        size = len(value)
    elif isinstance(value, dict):
        size = sum(len(key) + _size(item, depth + 1) for key, item in value.items())
    elif isinstance(value, list | tuple):
        size = sum(_size(item, depth + 1) for item in value)
    else:
        size = _FIXED_BYTES
    if size > LONGEST_ROW_BYTES:
        raise RowError(TOO_LONG)
    return size


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200]
