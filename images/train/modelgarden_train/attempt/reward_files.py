"""What the rewards of a run need, in its own folder: it goes on with what it began with, whatever becomes of the source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from modelgarden.api.artifact import DatasetReport, FileEntry
from modelgarden.api.layout import DATASET_REWARDS
from modelgarden_pod.errors import ObjectNotFound, UserError
from modelgarden_pod.storage import open_folder, split_uri
from modelgarden_train.attempt.run import Run


def keep_reward_files(run: Run) -> tuple[FileEntry, ...]:
    """Bring what the rewards need into the run's folder.

    Raises:
        UserError: DatasetNotFound, it is not there; AccessDenied or BucketNotFound.
        TemporaryError: storage does not answer.
    """
    return tuple(_keep(run, uri, kept) for uri, kept in _places(run))


def fetch_reward_files(run: Run, report: DatasetReport) -> dict[str, Path]:
    """Return on this machine what the rewards need, by its URI, held against the report of prepare.

    Raises:
        UserError: ArtifactInvalid, a file is not the recorded one.
        TemporaryError: storage does not answer.
    """
    recorded = {entry.path: entry.sha256 for entry in report.files}
    for _, kept in _places(run):
        run.folder.download(kept, run.workspace / kept, sha256=recorded[kept])
    return local_reward_files(run)


def local_reward_files(run: Run) -> dict[str, Path]:
    """Return where on this machine they are, once they were kept or fetched, by their URIs."""
    return {uri: run.workspace / kept for uri, kept in _places(run)}


def _places(run: Run) -> Iterator[tuple[str, str]]:
    """Yield each URI with the name of its copy in the run's folder, which ends as it does."""
    for number, uri in enumerate(run.config.objective.files):
        yield uri, f"{DATASET_REWARDS}/{number}-{split_uri(uri)[1]}"


def _keep(run: Run, uri: str, kept: str) -> FileEntry:
    folder_uri, name = split_uri(uri)
    folder = open_folder(folder_uri, run.config.storage, patience=run.patience)
    local = run.workspace / kept
    try:
        folder.download(name, local)
    except ObjectNotFound as error:
        raise UserError(
            "DatasetNotFound", f"{error.uri}, which a reward needs, does not exist; upload it"
        ) from error
    return run.folder.upload(local, kept)
