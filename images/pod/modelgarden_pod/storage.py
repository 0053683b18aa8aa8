"""Folders of files: in S3, or on the local disk when a command runs without Kubernetes.

`open_folder("s3://bucket/prefix", ...)` and `open_folder("file:///path", ...)` answer with the same interface.
Every upload carries its SHA-256, every download is held against the one that is wanted. What fails for now is
repeated (`retry.Patience`), what the user must mend is a UserError.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import unquote, urlparse

from modelgarden.api.artifact import FileEntry
from modelgarden.api.pods import PodStorage
from modelgarden_pod.errors import CorruptObject, ObjectNotFound
from modelgarden_pod.retry import Patience

PARALLEL_FILES = 8
"""Files that move at once; each large one is itself moved in parts."""

_CHUNK_BYTES = 1024 * 1024

T = TypeVar("T")


@dataclass(frozen=True)
class StoredFile:
    """One file of a folder."""

    name: str
    """Name below the folder, with / between its parts."""
    bytes: int
    etag: str | None = None
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
        """Return `length` bytes from `start`, of the version with this ETag where one is given."""
        ...

    def write(self, name: str, body: bytes) -> FileEntry:
        """Write a small file."""
        ...

    def upload(self, source: Path, name: str) -> FileEntry:
        """Write a file of any size."""
        ...

    def download(self, name: str, target: Path, *, sha256: str | None = None) -> FileEntry:
        """Fetch a file; CorruptObject when it does not have the wanted SHA-256."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; those that are gone already are no error."""
        ...


def open_folder(uri: str, storage: PodStorage, *, patience: Patience | None = None) -> Folder:
    """Return the folder at s3://bucket/prefix, file:///path or a plain path."""
    patience = patience or Patience()
    if uri.startswith("s3://"):
        from modelgarden_pod.s3 import open_s3_folder  # boto3 only where S3 is used

        return open_s3_folder(uri, storage, patience)
    from modelgarden_pod.local import LocalFolder

    return LocalFolder(local_path(uri))


def is_local(uri: str) -> bool:
    """Tell whether a URI means a path on this machine."""
    return uri.startswith("file://") or "://" not in uri


def local_path(uri: str) -> Path:
    """Return the path of file:///path or of a plain path."""
    return Path(unquote(urlparse(uri).path)) if uri.startswith("file://") else Path(uri)


def split_uri(uri: str) -> tuple[str, str]:
    """Return the folder's URI and the file's name of a file's URI."""
    folder, _, name = uri.rstrip("/").rpartition("/")
    return (folder or ".", name)


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


def fetch_verified(
    fetch: Callable[[Path], None], target: Path, *, name: str, sha256: str | None
) -> FileEntry:
    """Fetch beside the target, verify, then move into place, so that a target is whole or not there.

    Raises:
        CorruptObject: the content does not have the wanted SHA-256.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        fetch(partial)
        entry = file_entry(partial, name)
        if sha256 is not None and entry.sha256 != sha256:
            raise CorruptObject(name, found=entry.sha256, wanted=sha256)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return entry


def in_parallel(actions: Iterable[Callable[[], T]]) -> list[T]:
    """Run the actions on a few threads and return their results in order; the first error is raised."""
    pool = ThreadPoolExecutor(max_workers=PARALLEL_FILES)
    try:
        return [future.result() for future in [pool.submit(action) for action in actions]]
    finally:
        # Waits for nothing: after an error, SIGTERM included, the grace period is too short for it.
        pool.shutdown(wait=False, cancel_futures=True)


def download_tree(folder: Folder, names: Iterable[str], target: Path) -> list[FileEntry]:
    """Fetch files into a local folder under their names."""

    return in_parallel(partial(folder.download, name, target / name) for name in names)


def download_entries(folder: Folder, entries: Iterable[FileEntry], target: Path) -> None:
    """Fetch recorded files into a local folder under their paths; CorruptObject when one is not as recorded."""

    def fetch(entry: FileEntry) -> FileEntry:
        return folder.download(entry.path, target / entry.path, sha256=entry.sha256)

    in_parallel(partial(fetch, entry) for entry in entries)


def upload_tree(folder: Folder, source: Path, *, prefix: str = "") -> list[FileEntry]:
    """Write every file below a local folder; the entries' paths begin with the prefix."""
    files = sorted(path for path in source.rglob("*") if path.is_file())

    def send(path: Path) -> FileEntry:
        name = path.relative_to(source).as_posix()
        return folder.upload(path, f"{prefix}/{name}" if prefix else name)

    return in_parallel(partial(send, path) for path in files)


def read_or_none(folder: Folder, name: str) -> bytes | None:
    """Return the content of a small file, None where there is none."""
    try:
        return folder.read(name)
    except ObjectNotFound:
        return None
