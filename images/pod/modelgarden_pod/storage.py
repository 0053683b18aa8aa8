"""Opens folders of files, in S3, in GCS or on the local disk when a command runs without Kubernetes, and moves many at once.

`open_folder("s3://bucket/prefix", ...)` and `open_folder("file:///path", ...)` answer with the same interface. What
fails for now is repeated (`retry.Patience`), what the user must mend is a UserError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from modelgarden.api.artifact import FileEntry
from modelgarden.api.pods import PodStorage
from modelgarden_pod.errors import ObjectNotFound
from modelgarden_pod.folder import Folder
from modelgarden_pod.local import LocalFolder, local_path
from modelgarden_pod.retry import Patience

PARALLEL_FILES = 8
"""Files that move at once; each large one is itself moved in parts."""

T = TypeVar("T")


def open_folder(uri: str, storage: PodStorage, *, patience: Patience | None = None) -> Folder:
    """Return the folder at s3://bucket/prefix, gs://bucket/prefix, file:///path or a plain path."""
    patience = patience or Patience()
    if uri.startswith("s3://"):
        from modelgarden_pod.s3 import open_s3_folder  # boto3 only where S3 is used

        return open_s3_folder(uri, storage, patience)
    if uri.startswith("gs://"):
        from modelgarden_pod.gcs import open_gcs_folder  # and Google's client only where GCS is

        return open_gcs_folder(uri, storage, patience)
    return LocalFolder(local_path(uri))


def is_local(uri: str) -> bool:
    """Tell whether a URI means a path on this machine."""
    return uri.startswith("file://") or "://" not in uri


def split_uri(uri: str) -> tuple[str, str]:
    """Return the folder's URI and the file's name of a file's URI."""
    folder, _, name = uri.rstrip("/").rpartition("/")
    return (folder or ".", name)


def in_parallel(actions: Iterable[Callable[[], T]]) -> list[T]:
    """Run the actions on a few threads and return their results in order; the first error is raised."""
    pool = ThreadPoolExecutor(max_workers=PARALLEL_FILES)
    try:
        return [future.result() for future in [pool.submit(action) for action in actions]]
    finally:
        # Waits for nothing: after an error, SIGTERM included, the grace period is too short for it.
        pool.shutdown(wait=False, cancel_futures=True)


def download_tree(folder: Folder, names: Iterable[str], target: Path) -> None:
    """Fetch files into a local folder under their names."""

    in_parallel(partial(folder.download, name, target / name) for name in names)


def download_entries(folder: Folder, entries: Iterable[FileEntry], target: Path) -> None:
    """Fetch recorded files into a local folder under their paths; CorruptObject when one is not as recorded."""

    def fetch(entry: FileEntry) -> str:
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
