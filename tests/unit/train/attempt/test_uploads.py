"""Checkpoints are uploaded beside the training: uploads never pile up, and what is refused ends it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from modelgarden_pod.errors import PodError, TemporaryError, Terminated, UserError
from modelgarden_pod.folder import Folder
from modelgarden_pod.local import LocalFolder
from modelgarden_train.attempt import uploads
from modelgarden_train.attempt.checkpoints import restore_newest, upload
from modelgarden_train.attempt.uploads import CheckpointUploader
from modelgarden_train.objectives.checkpoint import Checkpoint
from tests.unit.train.builders import make_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return LocalFolder(tmp_path / "run")


def test_the_uploader_reports_each_checkpoint_and_keeps_the_newest_here(
    folder: Folder, tmp_path: Path
) -> None:
    done: list[int] = []
    uploader = CheckpointUploader(folder, keep=2, attempt="a", uploaded=done.append)
    for step in (1, 2):
        uploader.submit(make_checkpoint(tmp_path, step))
        uploader.drain(seconds=10)

    assert done == [1, 2]
    assert (tmp_path / "checkpoint-2").exists()
    assert not (tmp_path / "checkpoint-1").exists()


def test_while_storage_is_away_only_the_newest_waits(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, tried = threading.Event(), threading.Event()
    done: list[int] = []
    away.set()

    def flaky(run_folder: Folder, checkpoint: Checkpoint, *, attempt: str) -> None:
        if away.is_set():
            tried.set()
            raise TemporaryError("away")
        upload(run_folder, checkpoint, attempt=attempt)

    monkeypatch.setattr(uploads, "upload", flaky)
    uploader = CheckpointUploader(folder, keep=2, attempt="a", uploaded=done.append)
    uploader.submit(make_checkpoint(tmp_path, 1))
    assert tried.wait(10)
    uploader.submit(make_checkpoint(tmp_path, 2))
    uploader.submit(make_checkpoint(tmp_path, 3))
    with pytest.raises(TemporaryError, match="could not be uploaded in 0 s"):
        uploader.drain(seconds=0.05)
    away.clear()
    uploader.drain(seconds=10)

    assert done[-1] == 3
    assert 2 not in done
    assert not (tmp_path / "checkpoint-2").exists()


def test_a_refused_upload_ends_the_training(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise UserError("AccessDenied", "no")

    monkeypatch.setattr(uploads, "upload", refuse)
    uploader = CheckpointUploader(folder, keep=2, attempt="a", uploaded=lambda step: None)
    uploader.submit(make_checkpoint(tmp_path, 1))

    with pytest.raises(UserError):
        uploader.drain(seconds=10)
    with pytest.raises(UserError):
        uploader.submit(make_checkpoint(tmp_path, 2))


def test_an_unexpected_failure_of_an_upload_ends_the_training_and_is_named(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(uploads, "upload", fail)
    uploader = CheckpointUploader(folder, keep=2, attempt="a", uploaded=lambda step: None)
    uploader.submit(make_checkpoint(tmp_path, 7))

    with pytest.raises(PodError, match="step 7 cannot be uploaded: ValueError: no such thing") as raised:
        uploader.drain(seconds=10)
    assert (raised.value.reason, raised.value.exit_code) == ("TrainingFailed", 1)
    with pytest.raises(PodError, match="ValueError"):
        uploader.check()


@pytest.mark.parametrize(
    "error",
    [UserError("AccessDenied", "no s3:DeleteObject"), TemporaryError("away")],
    ids=["refused", "away"],
)
def test_old_checkpoints_that_cannot_be_removed_neither_end_the_training_nor_repeat_an_upload(
    error: PodError,
    folder: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    done: list[int] = []
    monkeypatch.setattr(uploads, "prune", fail)
    uploader = CheckpointUploader(folder, keep=1, attempt="a", uploaded=done.append)
    for step in (1, 2):
        uploader.submit(make_checkpoint(tmp_path, step))
        uploader.drain(seconds=10)

    assert done == [1, 2]
    assert [record.getMessage() for record in caplog.records] == ["Old checkpoints stay in storage"] * 2
    restored = restore_newest(folder, tmp_path / "restored")
    assert restored is not None
    assert restored.step == 2


class SlowUpload:
    """An upload that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self, run_folder: Folder, checkpoint: Checkpoint, *, attempt: str) -> None:
        self.begun.set()
        assert self.may_end.wait(10)
        upload(run_folder, checkpoint, attempt=attempt)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowUpload:
    upload = SlowUpload()
    monkeypatch.setattr(uploads, "upload", upload)
    return upload


def test_what_follows_the_training_waits_for_no_upload(
    folder: Folder, tmp_path: Path, slow: SlowUpload
) -> None:
    done: list[int] = []
    uploader = CheckpointUploader(folder, keep=2, attempt="a", uploaded=done.append)

    with uploader.saved_when_terminated(lambda: 10):
        uploader.submit(make_checkpoint(tmp_path, 1))
        assert slow.begun.wait(10)
        uploader.check()

    assert done == []
    assert restore_newest(folder, tmp_path / "restored") is None, "an upload half done is no checkpoint"
    slow.may_end.set()
    uploader.drain(seconds=10)
    assert done == [1]


def test_a_termination_waits_for_the_upload_under_way(
    folder: Folder, tmp_path: Path, slow: SlowUpload
) -> None:
    done: list[int] = []
    uploader = CheckpointUploader(folder, keep=2, attempt="a", uploaded=done.append)

    def evaluate_until_terminated() -> None:
        with uploader.saved_when_terminated(lambda: 10):
            uploader.submit(make_checkpoint(tmp_path, 1))
            assert slow.begun.wait(10)
            threading.Timer(0.1, slow.may_end.set).start()
            raise Terminated("SIGTERM")

    with pytest.raises(Terminated):
        evaluate_until_terminated()

    assert done == [1]
    assert restore_newest(folder, tmp_path / "restored") is not None


def test_a_termination_waits_no_longer_than_it_may(folder: Folder, tmp_path: Path, slow: SlowUpload) -> None:
    uploader = CheckpointUploader(folder, keep=2, attempt="a", uploaded=lambda step: None)

    def evaluate_until_terminated() -> None:
        with uploader.saved_when_terminated(lambda: 0.05):
            uploader.submit(make_checkpoint(tmp_path, 1))
            raise Terminated("SIGTERM")

    with pytest.raises(TemporaryError, match="could not be uploaded in 0 s"):
        evaluate_until_terminated()
    slow.may_end.set()
    uploader.drain(seconds=10)
