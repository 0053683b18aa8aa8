"""The images of a prepared dataset in one file: a tar archive, not compressed, each image under its SHA-256.

The same images make the same file, byte for byte, in whatever order rows name them.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Collection
from pathlib import Path


def write_archive(kept: Path, digests: Collection[str], target: Path) -> None:
    """Write those of the images that are kept in a folder, each once."""
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for digest in sorted(set(digests)):
            path = kept / digest
            entry = tarfile.TarInfo(digest)
            entry.size = path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(entry, content)


class Archive:
    """The images of an archive, read one at a time wherever they stand in it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with tarfile.open(path, "r:") as archive:
            self._places = {entry.name: (entry.offset_data, entry.size) for entry in archive}

    def __len__(self) -> int:
        return len(self._places)

    def read(self, digest: str) -> bytes:
        """Return the image with this SHA-256."""
        start, size = self._places[digest]
        return os.pread(self._file, size, start)
