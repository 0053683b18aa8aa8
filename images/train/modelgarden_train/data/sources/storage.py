"""Sources in S3 or on the local disk: one file, all below a folder, or those that fit a pattern."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from modelgarden.api.pods import PodSource, PodStorage
from modelgarden.api.selection import MOST_FILES, selection_of
from modelgarden_pod.errors import ObjectNotFound, UserError
from modelgarden_pod.folder import Folder
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import in_parallel, open_folder, split_uri
from modelgarden_train.data.sources.files import (
    Fetched,
    Listing,
    SourceFile,
    local_path_of,
    nothing_found,
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
    folder = open_folder(folder_uri, storage, patience=patience)
    names = [name]
    if selection is not None:
        names = [file.name for file in folder.list() if file.bytes and selection.takes(file.name)]
    elif folder.stat(name) is None:
        names = []
    if not names:
        raise nothing_found(source.uri, remedy="upload it")
    if len(names) > MOST_FILES:
        raise UserError(
            "DatasetInvalid",
            f"{source.uri} is {len(names)} files, more than {MOST_FILES}; join them to fewer",
        )
    return Listing(fetch=partial(_download, number, source, folder, names))


def _download(number: int, source: PodSource, folder: Folder, names: list[str], target: Path) -> Fetched:
    """Fetch the files into a folder.

    Raises:
        UserError: DatasetNotFound, one is gone; AccessDenied.
        TemporaryError: storage does not answer.
    """
    paths = [local_path_of(target, place, name) for place, name in enumerate(names)]
    try:
        digests = in_parallel(
            partial(folder.download, name, path) for name, path in zip(names, paths, strict=True)
        )
    except ObjectNotFound as error:
        raise UserError(
            "DatasetNotFound", f"{error.uri} of the dataset was removed while it was read"
        ) from error
    return Fetched(
        files=tuple(
            SourceFile(source=number, name=f"{folder.uri}/{name}", path=path)
            for name, path in zip(names, paths, strict=True)
        ),
        record=recorded(source.uri, zip(names, digests, strict=True)),
    )
