"""Where a dataset lies: fetches its file from S3 or from the local disk."""

from __future__ import annotations

from pathlib import Path

from modelgarden.api.pods import RunConfig
from modelgarden_pod.errors import ObjectNotFound, UserError
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import open_folder, split_uri


def fetch_source(config: RunConfig, target: Path, *, patience: Patience) -> str | None:
    """Fetch the dataset of a run; return the ETag that it had.

    Raises:
        UserError: DatasetNotFound or AccessDenied.
        TemporaryError: storage does not answer.
    """
    folder_uri, name = split_uri(config.dataset_source)
    folder = open_folder(folder_uri, config.storage, patience=patience)
    found = folder.stat(name)
    if found is None:
        raise UserError(
            "DatasetNotFound", f"{config.dataset_source} does not exist; upload it or correct dataset.source"
        )
    try:
        folder.download(name, target)
    except ObjectNotFound as error:
        raise UserError(
            "DatasetNotFound", f"{config.dataset_source} was removed while it was read"
        ) from error
    return found.etag
