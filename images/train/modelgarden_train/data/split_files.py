"""Writes the files of the splits, as Parquet, and the digest over them, from packed rows: no row is unpacked for it."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, Protocol

from modelgarden.api.artifact import FileEntry
from modelgarden_pod.folder import Folder
from modelgarden_train.data.batching import in_batches
from modelgarden_train.data.packed import NUMBER_BYTES, images_of, parts_of

GROUP_BYTES: Final = 16 * 1024**2
"""Size of one row group of a file: what is in memory while it is written."""


class PackedRows(Protocol):
    """Rows of one split, which need not be in memory."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...


class Digest:
    """The SHA-256 over the rows of splits, in the order in which they are written, and the images that they have."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.images: set[str] = set()
        """SHA-256 of each."""

    def over(self, rows: PackedRows) -> Iterator[bytes]:
        """Yield the rows of the next split."""
        self._hash.update(f"{len(rows)}\n".encode())
        for row in rows:
            self._hash.update(len(row).to_bytes(8, "little"))
            self._hash.update(row)
            self.images.update(images_of(parts_of(row).images))
            yield row

    @property
    def hexadecimal(self) -> str:
        """Of all that was yielded."""
        return self._hash.hexdigest()


def write_split(folder: Folder, name: str, rows: Iterable[bytes], *, scratch: Path) -> FileEntry:
    """Write one split."""
    import pyarrow.parquet

    path = scratch / Path(name).name
    with pyarrow.parquet.ParquetWriter(path, table_of(()).schema, compression="zstd") as writer:
        for batch in in_batches(rows, size=len, most=GROUP_BYTES):
            writer.write_table(table_of(batch))
    return folder.upload(path, name)


def table_of(rows: Sequence[bytes]) -> Any:
    """Return rows as the Arrow table of a file."""
    import pyarrow

    parts = [parts_of(row) for row in rows]
    columns = {
        "input_ids": _numbers([one.input_ids for one in parts]),
        "spans": _numbers([one.bounds for one in parts]),
        "question": _texts([one.question for one in parts]),
        "answer": _texts([one.answer for one in parts]),
        "rejected_ids": _numbers([one.rejected_ids for one in parts]),
        "label": pyarrow.array([one.label for one in parts], pyarrow.bool_()),
        "images": pyarrow.array([one.images for one in parts], pyarrow.large_binary()),
    }
    return pyarrow.table(columns)


def _numbers(column: Sequence[bytes]) -> Any:
    import pyarrow

    ends = array("q", (end // NUMBER_BYTES for end in _ends(column)))
    values = pyarrow.Array.from_buffers(
        pyarrow.int32(), ends[-1], [None, pyarrow.py_buffer(b"".join(column))]
    )
    places = pyarrow.Array.from_buffers(pyarrow.int64(), len(ends), [None, pyarrow.py_buffer(ends)])
    return pyarrow.LargeListArray.from_arrays(places, values)


def _texts(column: Sequence[bytes]) -> Any:
    import pyarrow

    ends = array("q", _ends(column))
    return pyarrow.LargeStringArray.from_buffers(
        len(column), pyarrow.py_buffer(ends), pyarrow.py_buffer(b"".join(column))
    )


def _ends(column: Sequence[bytes]) -> Iterator[int]:
    """Return where each part ends in all of them, after a zero; in bytes."""
    return accumulate(map(len, column), initial=0)
