"""Prepared rows on their way: on the disk, with an index in memory that is enough to split them by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from modelgarden_train.data.packed import unpacked
from modelgarden_train.data.prepared import PreparedRow


@dataclass(frozen=True, slots=True)
class Spooled:
    """What stands for a row, however long that is."""

    digest: bytes
    prompt_digest: bytes
    tokens: int
    source: int
    offset: int
    """Where it begins in the spool."""
    bytes: int
    label: bool | None = None
    """Whether its answer is good, where that is what is learned."""


class Spool:
    """A file of prepared rows: first written, then read in any order. A context, which removes the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w+b")
        self._end = 0
        self.rows: list[Spooled] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def add(
        self,
        digests: tuple[bytes, bytes],
        content: bytes,
        *,
        tokens: int,
        source: int,
        label: bool | None = None,
    ) -> None:
        """Keep a row, packed; the digests are its own and its prompt's."""
        self._file.write(content)
        self.rows.append(Spooled(*digests, tokens, source, self._end, len(content), label))
        self._end += len(content)

    def read(self, rows: Sequence[Spooled]) -> SpooledRows:
        """Return rows in the order that is given."""
        return SpooledRows(self, rows)

    def row(self, spooled: Spooled) -> PreparedRow:
        """Return one row."""
        return unpacked(self.content(spooled))

    def content(self, spooled: Spooled) -> bytes:
        """Return one row, packed."""
        if self._file.tell() != spooled.offset:
            self._file.seek(spooled.offset)
        return self._file.read(spooled.bytes)


class SpooledRows:
    """Packed rows that are read when they are asked for."""

    def __init__(self, spool: Spool, rows: Sequence[Spooled]) -> None:
        self._spool = spool
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[bytes]:
        return map(self._spool.content, self._rows)
