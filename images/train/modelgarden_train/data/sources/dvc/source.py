"""Follows the pointers of one source, in storage or in a mounted volume."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Final

from modelgarden.api.names import MOUNTED_SOURCES
from modelgarden.api.pods import PodStorage
from modelgarden_pod.folder import Folder
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import open_folder, split_uri
from modelgarden_train.data.sources.dvc.follow import Pointers
from modelgarden_train.data.sources.dvc.project import LARGEST_SETTINGS_BYTES
from modelgarden_train.data.sources.files import Fetched
from modelgarden_train.data.sources.mounted import open_inside

_VOLUME: Final = "pvc://"


def follow_pointers(
    fetched: Fetched,
    target: Path,
    *,
    storage: PodStorage,
    patience: Patience,
    mounts: Path = Path(MOUNTED_SOURCES),
) -> Fetched:
    """Return the files that a source's pointers lead to in the place of these; see `Pointers.follow`."""
    open_stored = cache(partial(open_folder, storage=storage, patience=patience))
    in_claim = fetched.record.uri.startswith(_VOLUME)
    read = (
        partial(read_mounted, mounts=mounts) if in_claim else partial(_read_stored, open_stored=open_stored)
    )
    return Pointers(read=cache(read), open_remote=open_stored).follow(fetched, target)


def read_mounted(uri: str, *, mounts: Path) -> bytes | None:
    """Return a small file of a claim, as far as one byte more than it may have; None where there is none.

    Raises:
        UserError: DatasetInvalid, it lies elsewhere or is none; AccessDenied, it cannot be read.
    """
    claim, _, path = uri.removeprefix(_VOLUME).partition("/")
    root = mounts / "pvc" / claim
    if not os.path.lexists(root / path):
        return None
    with open_inside(root, root / path, uri) as file:
        return file.read(LARGEST_SETTINGS_BYTES + 1)


def _read_stored(uri: str, *, open_stored: Callable[[str], Folder]) -> bytes | None:
    folder_uri, name = split_uri(uri)
    folder = open_stored(folder_uri)
    found = folder.stat(name)
    if found is None:
        return None
    if not found.bytes:
        return b""
    return folder.read_range(name, start=0, length=LARGEST_SETTINGS_BYTES + 1)
