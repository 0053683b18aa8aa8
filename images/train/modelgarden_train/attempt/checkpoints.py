"""Checkpoints in the run's folder: uploaded beside the training, restored by the next attempt.

A checkpoint is complete when its marker lies beside its files; the marker is written last and names every file with
its SHA-256. What is not complete, or not what its marker says, is passed over for the next older one.
"""

from __future__ import annotations

import logging
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

from modelgarden.api.artifact import CheckpointRecord
from modelgarden.api.documents import TRAIN_IMAGE, DocumentError, NewerDocument
from modelgarden.api.layout import CHECKPOINT_MARKER, CHECKPOINTS
from modelgarden_pod.energy import timestamp
from modelgarden_pod.errors import CorruptObject, ObjectNotFound, PodError, UserError
from modelgarden_pod.folder import Folder
from modelgarden_pod.storage import download_entries, upload_tree
from modelgarden_train.objectives.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

_MARKER = re.compile(rf"^([0-9]+)/{re.escape(CHECKPOINT_MARKER)}$")
_STEP = re.compile(r"^([0-9]+)/")


def restore_newest(run_folder: Folder, target: Path) -> Checkpoint | None:
    """Download the newest complete checkpoint, None where there is none.

    Raises:
        UserError: UpgradeNeeded, a newer version wrote it: its steps are not to be trained, nor it removed, again.
    """
    folder = run_folder.child(CHECKPOINTS)
    found = (_MARKER.match(file.name) for file in folder.list())
    for step in sorted((int(match[1]) for match in found if match), reverse=True):
        path = target / f"checkpoint-{step}"
        try:
            _download(folder.child(str(step)), path)
        except (CorruptObject, ObjectNotFound, DocumentError) as error:
            logger.warning("Passed over a damaged checkpoint", extra={"step": step, "error": str(error)})
            shutil.rmtree(path, ignore_errors=True)
            _unmark(folder, step)
            continue
        return Checkpoint(step=step, path=path)
    return None


def restore(run_folder: Folder, target: Path, *, step: int) -> Checkpoint:
    """Download the checkpoint of a step, which the first node of a training has just restored.

    Raises:
        PodError: it cannot be read here.
    """
    path = target / f"checkpoint-{step}"
    try:
        _download(run_folder.child(f"{CHECKPOINTS}/{step}"), path)
    except (CorruptObject, ObjectNotFound, DocumentError) as error:
        raise PodError("TrainingFailed", f"the checkpoint of step {step} cannot be read: {error}") from error
    return Checkpoint(step=step, path=path)


def _unmark(folder: Folder, step: int) -> None:
    """Take the marker of a damaged checkpoint away: it would count among the newest that are kept."""
    try:
        folder.delete([f"{step}/{CHECKPOINT_MARKER}"])
    except PodError as error:
        logger.warning("A damaged checkpoint stays in storage", extra={"step": step, "error": error.message})


def upload(run_folder: Folder, checkpoint: Checkpoint, *, attempt: str) -> None:
    """Write a checkpoint's files, then its marker."""
    folder = run_folder.child(f"{CHECKPOINTS}/{checkpoint.step}")
    record = CheckpointRecord(
        step=checkpoint.step,
        created_at=timestamp(datetime.now(UTC)),
        attempt=attempt,
        files=tuple(upload_tree(folder, checkpoint.path)),
    )
    folder.write(CHECKPOINT_MARKER, record.model_dump_json(by_alias=True, indent=2).encode())


def prune(run_folder: Folder, *, keep: int) -> None:
    """Remove all but the newest complete checkpoints, each one's marker first, so that none loses only files."""
    folder = run_folder.child(CHECKPOINTS)
    names = [file.name for file in folder.list()]
    complete = sorted(int(match[1]) for match in map(_MARKER.match, names) if match)
    if len(complete) <= keep:
        return
    oldest_kept = complete[-keep]
    old = [name for name in names if (match := _STEP.match(name)) and int(match[1]) < oldest_kept]
    folder.delete(name for name in old if _MARKER.match(name))
    folder.delete(name for name in old if not _MARKER.match(name))


def _download(folder: Folder, path: Path) -> None:
    content = folder.read(CHECKPOINT_MARKER)
    try:
        record = CheckpointRecord.read(content, reader=TRAIN_IMAGE)
    except NewerDocument as error:
        where = f"{folder.uri}/{CHECKPOINT_MARKER}"
        raise UserError("UpgradeNeeded", f"{where} cannot be read. {error}") from error
    download_entries(folder, record.files, path)
