"""Sources in volumes of the pod: a PersistentVolumeClaim or a ConfigMap, mounted for reading.

Files are copied, as others may write to a claim meanwhile. What is opened must lie in the volume: a link that leads out
of it could bring files of this pod, its credentials among them, into the training data.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from modelgarden.api.names import MOUNTED_SOURCES
from modelgarden.api.pods import PodSource
from modelgarden.api.selection import MOST_FILES, selection_of
from modelgarden_pod.errors import UserError
from modelgarden_train.data.sources.files import Fetched, SourceFile, local_path_of, nothing_found, recorded

_CHUNK_BYTES: Final = 1024**2


def fetch_mounted(
    number: int, source: PodSource, target: Path, *, mounts: Path = Path(MOUNTED_SOURCES)
) -> Fetched:
    """Copy the files of a source, the dataset's of this number, in the order of their names.

    Raises:
        UserError: DatasetNotFound; AccessDenied, a file cannot be read; DatasetInvalid, there are too many files, or one
            is a link out of the volume or no file at all.
    """
    scheme, _, rest = source.uri.partition("://")
    volume, _, path = rest.partition("/")
    root = mounts / scheme / volume
    names = sorted(_names(root, path))
    if not names:
        raise _missing(source, root)
    if len(names) > MOST_FILES:
        raise UserError("DatasetInvalid", f"{source.uri} is more than {MOST_FILES} files; join them to fewer")
    target.mkdir(parents=True, exist_ok=True)
    files, digests = [], []
    for place, name in enumerate(names):
        file = SourceFile(number, f"{scheme}://{volume}/{name}", local_path_of(target, place, name))
        digests.append(_copy(root, name, file))
        files.append(file)
    return Fetched(files=tuple(files), record=recorded(source.uri, zip(names, digests, strict=True)))


def _names(root: Path, path: str) -> Iterator[str]:
    """Yield the names below the volume that a path selects, one more than there may be at most."""
    selection = selection_of(f"/{path}")
    if selection is None:
        if os.path.lexists(root / path):
            yield path
        return
    folder = root / selection.folder.lstrip("/")
    found = 0
    for current, _, names in os.walk(folder):
        for name in names:
            file = Path(current) / name
            if not selection.takes(file.relative_to(folder).as_posix()) or _is_empty(file):
                continue
            yield file.relative_to(root).as_posix()
            found += 1
            if found > MOST_FILES:
                return


def _is_empty(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == 0


def _copy(root: Path, name: str, file: SourceFile) -> str:
    """Copy a file of a volume; return its SHA-256."""
    digest = hashlib.sha256()
    with open_inside(root, root / name, file.name) as found, file.path.open("wb") as copy:
        while chunk := found.read(_CHUNK_BYTES):
            digest.update(chunk)
            copy.write(chunk)
    return digest.hexdigest()


def open_inside(root: Path, path: Path, name: str) -> BinaryIO:
    """Open a file of a volume.

    Raises:
        UserError: DatasetInvalid, it lies elsewhere or is none; AccessDenied, it cannot be read.
    """
    try:
        # Without waiting for the other end of a pipe.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UserError(
            "AccessDenied",
            f"{name} cannot be read by user {os.getuid()} of group {os.getgid()} ({error.strerror}); make it and its "
            "folders readable for all, or have its volume take the pod's fsGroup",
        ) from error
    try:
        _require_inside(handle, root, name)
        return os.fdopen(handle, "rb")
    except UserError:
        os.close(handle)
        raise


def _require_inside(handle: int, root: Path, name: str) -> None:
    # Where it leads to is asked of the open file, which cannot become another one.
    if not Path(f"/proc/self/fd/{handle}").resolve().is_relative_to(root.resolve()):
        raise UserError(
            "DatasetInvalid", f"{name} is a link to a place outside of its volume; put the file itself there"
        )
    mode = os.fstat(handle).st_mode
    if stat.S_ISDIR(mode):
        raise UserError("DatasetInvalid", f"{name} is a folder; end the source with / to take its files")
    if not stat.S_ISREG(mode):
        raise UserError("DatasetInvalid", f"{name} is a pipe, a socket or a device; put a file there")


def _missing(source: PodSource, root: Path) -> UserError:
    if source.uri.startswith("configmap://"):
        keys = ", ".join(sorted(path.name for path in root.glob("[!.]*"))) or "no key, or does not exist"
        return UserError(
            "DatasetNotFound",
            f"{source.uri} is not there, the ConfigMap has {keys}; create it or correct the source",
        )
    return nothing_found(source.uri, remedy="put it there")
