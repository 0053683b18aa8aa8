"""Sources in S3 or on the local disk: one file, all below a folder, or those that fit a pattern."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from modelgarden.api.layout import listing_digest
from modelgarden.api.pods import PodSource, PodStorage
from modelgarden.api.selection import MOST_FILES, Selection, selection_of
from modelgarden_pod.errors import ObjectNotFound, UserError
from modelgarden_pod.folder import Folder, StoredFile
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import in_parallel, open_folder, split_uri
from modelgarden_train.data.sources.files import (
    Fetched,
    Listing,
    SourceFile,
    local_path_of,
    nothing_found,
    pin_of,
    recorded,
)


def list_stored(number: int, source: PodSource, *, storage: PodStorage, patience: Patience) -> Listing:
    """List the files of a source, the dataset's of this number, in the order of their names.

    Raises:
        UserError: DatasetNotFound, DatasetInvalid (too many files), AccessDenied or BucketNotFound.
        TemporaryError: storage does not answer.
    """
    selection = selection_of(source.uri)
    folder_uri, name = (selection.folder, "") if selection else split_uri(source.uri)
    place = _Place(source.uri, open_folder(folder_uri, storage, patience=patience), selection or name)
    files = place.files()
    if not files:
        raise nothing_found(source.uri, remedy="upload it")
    if len(files) > MOST_FILES:
        raise UserError(
            "DatasetInvalid",
            f"{source.uri} is {len(files)} files, more than {MOST_FILES}; join them to fewer",
        )
    return Listing(fetch=partial(_download, number, place, files), pin=place.pin(files))


@dataclass(frozen=True)
class _Place:
    """Where the files of a source lie."""

    uri: str
    folder: Folder
    chosen: Selection | str
    """Of the folder's files, by rule or by name."""

    def files(self) -> list[StoredFile]:
        """Return the files that are there now."""
        if isinstance(self.chosen, str):
            found = self.folder.stat(self.chosen)
            return [found] if found else []
        return [file for file in self.folder.list() if file.bytes and self.chosen.takes(file.name)]

    def pin(self, files: Sequence[StoredFile]) -> str:
        """Return what changes with the files; S3 gives what is written anew another ETag, unless it is the same."""
        return pin_of(self.uri, listing_digest((file.name, file.etag or "", file.bytes) for file in files))


def _download(number: int, place: _Place, files: Sequence[StoredFile], target: Path) -> Fetched:
    """Fetch the files into a folder.

    Raises:
        UserError: DatasetNotFound, one is gone; AccessDenied.
        TemporaryError: storage does not answer.
    """
    folder, names = place.folder, [file.name for file in files]
    paths = [local_path_of(target, order, name) for order, name in enumerate(names)]
    try:
        digests = in_parallel(
            partial(folder.download, name, path) for name, path in zip(names, paths, strict=True)
        )
    except ObjectNotFound as error:
        raise UserError(
            "DatasetNotFound", f"{error.uri} of the dataset was removed while it was read"
        ) from error
    pin = place.pin(files)
    return Fetched(
        files=tuple(
            SourceFile(source=number, name=f"{folder.uri}/{name}", path=path)
            for name, path in zip(names, paths, strict=True)
        ),
        record=recorded(place.uri, zip(names, digests, strict=True)),
        pin=pin if place.pin(place.files()) == pin else None,
    )
