"""Folders on the local disk, with the interface of `folder.Folder`. Writes are atomic, as they are in S3."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

from modelgarden.api.artifact import FileEntry
from modelgarden_pod.errors import ObjectNotFound, UserError
from modelgarden_pod.folder import StoredFile, fetch_verified, file_entry, sha256_of


def local_path(uri: str) -> Path:
    """Return the path of file:///path or of a plain path."""
    return Path(unquote(urlparse(uri).path)) if uri.startswith("file://") else Path(uri)


@dataclass(frozen=True)
class LocalFolder:
    """A folder on this machine."""

    path: Path

    @property
    def uri(self) -> str:
        return self.path.absolute().as_uri()

    def child(self, name: str) -> LocalFolder:
        return LocalFolder(self.path / name)

    def with_patience(self, seconds: float) -> LocalFolder:
        return self

    def list(self) -> list[StoredFile]:
        files = sorted(path for path in self.path.rglob("*") if path.is_file())
        return [
            StoredFile(
                name=path.relative_to(self.path).as_posix(), bytes=path.stat().st_size, etag=_etag(path)
            )
            for path in files
        ]

    def stat(self, name: str) -> StoredFile | None:
        path = self.path / name
        if not path.is_file():
            return None
        with _errors(path):
            return StoredFile(name=name, bytes=path.stat().st_size, etag=_etag(path), sha256=sha256_of(path))

    def read(self, name: str) -> bytes:
        with _errors(self.path / name):
            return (self.path / name).read_bytes()

    def read_range(self, name: str, *, start: int, length: int, etag: str | None = None) -> bytes:
        path = self.path / name
        with _errors(path), path.open("rb") as file:
            if etag is not None and etag != _etag(path):
                raise ObjectNotFound(path.as_uri())
            file.seek(start)
            return file.read(length)

    def write(self, name: str, body: bytes) -> FileEntry:
        self._place(name, lambda partial: partial.write_bytes(body))
        return FileEntry(path=name, sha256=hashlib.sha256(body).hexdigest(), bytes=len(body))

    def upload(self, source: Path, name: str) -> FileEntry:
        entry = file_entry(source, name)
        self._place(name, lambda partial: shutil.copyfile(source, partial))
        return entry

    def copy_from(self, uri: str, entry: FileEntry) -> None:
        source = local_path(uri) / entry.path
        self._place(entry.path, lambda partial: _copy(source, partial))

    def download(self, name: str, target: Path, *, sha256: str | None = None) -> str:
        source = self.path / name
        with _errors(source):
            return fetch_verified(lambda partial: _copy(source, partial), target, name=name, sha256=sha256)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            path = self.path / name
            path.unlink(missing_ok=True)
            # S3 has no empty folders.
            while (path := path.parent) != self.path and path.is_dir() and not any(path.iterdir()):
                path.rmdir()

    def _place(self, name: str, fill: Callable[[Path], object]) -> None:
        target = self.path / name
        with _errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            os.close(handle)
            try:
                fill(Path(partial))
                os.replace(partial, target)
            except BaseException:
                Path(partial).unlink(missing_ok=True)
                raise


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _etag(path: Path) -> str:
    status = path.stat()
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ObjectNotFound(path.absolute().as_uri()) from error
    except PermissionError as error:
        raise UserError("AccessDenied", f"{path} cannot be accessed: {error.strerror}") from error
