"""What a folder of files is, wherever it lies: the one interface of S3, of GCS and of the local disk.

Every upload carries its SHA-256, every download is held against the one that is wanted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelgarden.api.artifact import FileEntry
from modelgarden_pod.errors import CorruptObject

_CHUNK_BYTES = 1024 * 1024
_TYPES = {".json": "application/json", ".jsonl": "application/jsonl", ".md": "text/markdown; charset=utf-8"}


@dataclass(frozen=True)
class StoredFile:
    """One file of a folder."""

    name: str
    """Name below the folder, with / between its parts."""
    bytes: int
    etag: str | None = None
    """Entity tag, which changes with its content: the ETag of S3, the generation of GCS."""
    sha256: str | None = None
    """From the object's metadata; only `stat` reads it."""


class Folder(Protocol):
    """A folder of files. All names are relative to it.

    Every method raises UserError (AccessDenied, BucketNotFound) or TemporaryError; reading what is not there
    raises ObjectNotFound.
    """

    @property
    def uri(self) -> str: ...

    def child(self, name: str) -> Folder:
        """Return a folder below this one."""
        ...

    def with_patience(self, seconds: float) -> Folder:
        """Return the same folder, whose outages are waited for as long as given."""
        ...

    def list(self) -> list[StoredFile]:
        """Return all files below the folder, sorted by name."""
        ...

    def stat(self, name: str) -> StoredFile | None:
        """Return what is known about a file, None where there is none."""
        ...

    def read(self, name: str) -> bytes:
        """Return the content of a small file."""
        ...

    def read_range(self, name: str, *, start: int, length: int, etag: str | None = None) -> bytes:
        """Return `length` bytes from `start`, of the version with this entity tag where one is given."""
        ...

    def write(self, name: str, body: bytes) -> FileEntry:
        """Write a small file."""
        ...

    def upload(self, source: Path, name: str) -> FileEntry:
        """Write a file of any size."""
        ...

    def copy_from(self, uri: str, entry: FileEntry) -> None:
        """Copy a file from a folder of the same storage, under the same name, without a way through this machine."""
        ...

    def download(self, name: str, target: Path, *, sha256: str | None = None) -> str:
        """Fetch a file and return its SHA-256; CorruptObject when that is not the wanted one."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; those that are gone already are no error."""
        ...


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def file_entry(path: Path, name: str) -> FileEntry:
    """Return name, size and SHA-256 of a local file."""
    return FileEntry(path=name, sha256=sha256_of(path), bytes=path.stat().st_size)


def fetch_verified(fetch: Callable[[Path], None], target: Path, *, name: str, sha256: str | None) -> str:
    """Fetch beside the target, verify, then move into place, so that a target is whole or not there; return its SHA-256.

    Raises:
        CorruptObject: the content does not have the wanted SHA-256.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        fetch(partial)
        found = sha256_of(partial)
        if sha256 is not None and found != sha256:
            raise CorruptObject(name, found=found, wanted=sha256)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return found


def content_type(name: str) -> str:
    """Return the media type of a file by its name."""
    return _TYPES.get(Path(name).suffix, "application/octet-stream")
