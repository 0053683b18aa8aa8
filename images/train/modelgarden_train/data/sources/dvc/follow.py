"""Fetches what the pointers of a source lead to, and puts it in their place.

The remote is read with the credentials and the endpoint of the job's storage, whatever the project's settings say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path

from modelgarden.api.selection import MOST_FILES
from modelgarden_pod.errors import ObjectNotFound, UserError
from modelgarden_pod.folder import Folder
from modelgarden_pod.storage import in_parallel
from modelgarden_train.data.sources.dvc.md5 import md5_of
from modelgarden_train.data.sources.dvc.pointer import (
    LARGEST_LIST_BYTES,
    LARGEST_POINTER_BYTES,
    Tracked,
    files_in,
    read_pointer,
)
from modelgarden_train.data.sources.dvc.project import places_of_settings, remote_of
from modelgarden_train.data.sources.files import Fetched, SourceFile, local_path_of, recorded


@dataclass(frozen=True)
class _Kept:
    """A file or a folder's list, and the remote that it lies in."""

    tracked: Tracked
    remote: Folder

    @property
    def uri(self) -> str:
        return f"{self.remote.uri}/{self.tracked.key}"


@dataclass(frozen=True)
class Pointers:
    """Follows pointers."""

    read: Callable[[str], bytes | None]
    """Returns a small file by its URI, None where there is none."""
    open_remote: Callable[[str], Folder]

    def follow(self, fetched: Fetched, target: Path) -> Fetched:
        """Return the files that a source's pointers lead to in the place of these.

        Raises:
            UserError: DatasetInvalid, a pointer or its project is wrong or a file is not the one that was pointed to;
                DatasetNotFound, a file is not there; AccessDenied or BucketNotFound.
            TemporaryError: storage does not answer.
        """
        found = chain.from_iterable(self._files(file, target) for file in fetched.files)
        files = list(islice(found, MOST_FILES + 1))
        uri = fetched.record.uri
        if len(files) > MOST_FILES:
            raise UserError(
                "DatasetInvalid", f"{uri} leads to more than {MOST_FILES} files; join them to fewer"
            )
        if not files:
            raise UserError(
                "DatasetNotFound", f"{uri} leads to no file with content; add some with `dvc add`"
            )
        names = [file.tracked.name for file in files]
        paths = [local_path_of(target, place, name) for place, name in enumerate(names)]
        digests = in_parallel(partial(_fetch, file, path) for file, path in zip(files, paths, strict=True))
        number = fetched.files[0].source
        return Fetched(
            files=tuple(SourceFile(number, name, path) for name, path in zip(names, paths, strict=True)),
            record=recorded(uri, zip(names, digests, strict=True)),
        )

    def _files(self, file: SourceFile, target: Path) -> Iterator[_Kept]:
        """Yield the files that a pointer leads to."""
        for tracked in read_pointer(_beginning(file.path, LARGEST_POINTER_BYTES), file.name):
            remote = self.open_remote(self._remote(tracked))
            if not tracked.is_folder:
                yield _Kept(tracked, remote)
                continue
            listing = target / f"{tracked.md5}.dir"
            _fetch(_Kept(tracked, remote), listing)
            for one in files_in(_beginning(listing, LARGEST_LIST_BYTES), tracked):
                yield _Kept(one, remote)

    def _remote(self, tracked: Tracked) -> str:
        """Return the URI of the remote that a project's settings name, the nearest ones above the pointer."""
        for place in places_of_settings(tracked.pointer):
            settings = self._settings(place, tracked.pointer)
            if settings is not None:
                return remote_of(settings, place, tracked.remote)
        raise UserError(
            "DatasetNotFound",
            f"neither in the folder of {tracked.pointer} nor in one above is a .dvc/config, which tells the remote of its "
            "data; upload that of the DVC project",
        )

    def _settings(self, place: str, pointer: str) -> bytes | None:
        try:
            return self.read(place)
        except UserError as error:
            if error.reason != "AccessDenied":
                raise
            raise UserError(
                error.reason,
                f"{error.message}. It is looked for to follow {pointer}: upload .dvc/config of the DVC project to the "
                "pointer's folder, or to one above that may be read",
            ) from error


def _fetch(kept: _Kept, path: Path) -> str:
    """Fetch a file from its remote, hold it against its MD5 and return its SHA-256."""
    pointer = kept.tracked.pointer
    try:
        sha256 = kept.remote.download(kept.tracked.key, path)
    except ObjectNotFound as error:
        raise UserError(
            "DatasetNotFound",
            f"{kept.uri}, which {pointer} leads to, does not exist in the job's storage; run `dvc push`",
        ) from error
    found = md5_of(path, former=kept.tracked.former)
    if found != kept.tracked.md5:
        raise UserError(
            "DatasetInvalid",
            f"{kept.uri}, which {pointer} leads to, is damaged, its MD5 is {found}; remove it and run `dvc push`",
        )
    return sha256


def _beginning(path: Path, most: int) -> bytes:
    """Return a file as far as one byte more than it may have."""
    with path.open("rb") as file:
        return file.read(most + 1)
