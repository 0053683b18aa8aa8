"""A file on its way: its parts are written in any order, and which of them are there outlives the process.

Data and journal lie beside the model. The journal's first line says of which version the parts are; a file that
changed in storage begins anew. A file gets its name only when it is whole and verified.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from modelgarden_pod.errors import CorruptObject
from modelgarden_pod.folder import sha256_of
from modelgarden_serve.selection import RemoteFile

PARTIAL_FOLDER = ".fetch"


class PartialFile:
    """One file of the model, whole or in parts."""

    def __init__(self, file: RemoteFile, *, target: Path, part_bytes: int) -> None:
        self.file = file
        self.target = target
        self._path = target / file.name
        self._data = target / PARTIAL_FOLDER / f"{file.name}.data"
        self._journal = target / PARTIAL_FOLDER / f"{file.name}.parts"
        self._part_bytes = part_bytes
        self._identity = f"{file.etag} {file.sha256} {file.bytes} {part_bytes}"
        self._lock = threading.Lock()
        self._written: set[int] = set()

    @property
    def whole(self) -> bool:
        """Say whether the file has its name, so was verified by an earlier run."""
        return self._path.is_file() and self._path.stat().st_size == self.file.bytes

    def open(self) -> list[int]:
        """Prepare the data file and return the parts that are still missing."""
        self._data.parent.mkdir(parents=True, exist_ok=True)
        self._written = self._journalled()
        if not self._written:
            self._begin()
        return [part for part in range(self._count) if part not in self._written]

    def span(self, part: int) -> tuple[int, int]:
        """Return start and length of a part in bytes."""
        start = part * self._part_bytes
        return start, min(self._part_bytes, self.file.bytes - start)

    def write(self, part: int, content: bytes) -> bool:
        """Keep a part; return whether it was the last one missing."""
        start, length = self.span(part)
        if len(content) != length:
            raise CorruptObject(self.file.name, found=f"{len(content)} bytes", wanted=f"{length} bytes")
        descriptor = os.open(self._data, os.O_WRONLY)
        try:
            view = memoryview(content)
            while view:
                written = os.pwrite(descriptor, view, start)
                view, start = view[written:], start + written
        finally:
            os.close(descriptor)
        with self._lock, self._journal.open("a") as journal:
            journal.write(f"{part}\n")
            self._written.add(part)
            return len(self._written) == self._count

    def finish(self) -> None:
        """Verify the whole file and give it its name.

        Raises:
            CorruptObject: it does not have the SHA-256 of its manifest; its parts are dropped.
        """
        if self.file.sha256 is not None:
            found = sha256_of(self._data)
            if found != self.file.sha256:
                self._journal.unlink()
                raise CorruptObject(self.file.name, found=found, wanted=self.file.sha256)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._data.replace(self._path)
        self._journal.unlink()

    @property
    def _count(self) -> int:
        return -(-self.file.bytes // self._part_bytes)

    def _begin(self) -> None:
        with self._data.open("wb") as data:
            data.truncate(self.file.bytes)
        self._journal.write_text(f"{self._identity}\n")

    def _journalled(self) -> set[int]:
        """Return the parts that an earlier run kept of this very version."""
        try:
            identity, *lines = self._journal.read_text().split("\n")
        except FileNotFoundError:
            return set()
        if identity != self._identity or not self._data.is_file():
            return set()
        # The last line may have been cut off with the process; a whole one ends with a line break.
        return {int(line) for line in lines[:-1] if line.isdigit() and int(line) < self._count}
