"""Checkpoints on a local folder: only whole ones are restored, only the newest are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelgarden_pod.errors import UserError
from modelgarden_pod.folder import Folder
from modelgarden_pod.local import LocalFolder
from modelgarden_train.attempt.checkpoints import prune, restore_newest, upload
from tests.unit.train.builders import make_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return LocalFolder(tmp_path / "run")


def test_the_newest_complete_checkpoint_is_restored(folder: Folder, tmp_path: Path) -> None:
    for step in (9, 10):
        upload(folder, make_checkpoint(tmp_path, step), attempt="a")
    folder.write("checkpoints/11/weights", b"an upload that was cut off")

    restored = restore_newest(folder, tmp_path / "restored")

    assert restored is not None
    assert restored.step == 10
    assert (restored.path / "weights").read_text() == "weights of step 10"


@pytest.mark.parametrize("damage", ["changed", "removed", "marker"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    damage: str, folder: Folder, tmp_path: Path
) -> None:
    for step in (1, 2):
        upload(folder, make_checkpoint(tmp_path, step), attempt="a")
    if damage == "changed":
        folder.write("checkpoints/2/weights", b"other bytes")
    elif damage == "removed":
        folder.delete(["checkpoints/2/weights"])
    else:
        folder.write("checkpoints/2/checkpoint.json", b"{}")

    restored = restore_newest(folder, tmp_path / "restored")

    assert restored is not None
    assert restored.step == 1
    assert not (tmp_path / "restored" / "checkpoint-2").exists()


def test_a_checkpoint_that_was_passed_over_costs_none_of_those_after_it(
    folder: Folder, tmp_path: Path
) -> None:
    for step in (200, 300):
        upload(folder, make_checkpoint(tmp_path, step), attempt="a")
    folder.write("checkpoints/300/weights", b"other bytes")
    restored = restore_newest(folder, tmp_path / "restored")
    assert restored is not None
    assert restored.step == 200

    upload(folder, make_checkpoint(tmp_path, 250), attempt="b")
    prune(folder, keep=1)

    again = restore_newest(folder, tmp_path / "again")
    assert again is not None
    assert again.step == 250


def test_a_checkpoint_of_a_newer_version_is_neither_trained_again_nor_removed(
    folder: Folder, tmp_path: Path
) -> None:
    upload(folder, make_checkpoint(tmp_path, 1), attempt="a")
    folder.write("checkpoints/2/checkpoint.json", b'{"schemaVersion": "2.0", "step": 2}')

    with pytest.raises(UserError, match=r"images\.train") as refused:
        restore_newest(folder, tmp_path / "restored")

    assert refused.value.reason == "UpgradeNeeded"
    assert folder.stat("checkpoints/2/checkpoint.json") is not None


def test_a_damaged_checkpoint_that_may_not_be_removed_is_passed_over_all_the_same(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise UserError("AccessDenied", "no s3:DeleteObject")

    for step in (1, 2):
        upload(folder, make_checkpoint(tmp_path, step), attempt="a")
    folder.write("checkpoints/2/weights", b"other bytes")
    monkeypatch.setattr(LocalFolder, "delete", refuse)

    restored = restore_newest(folder, tmp_path / "restored")

    assert restored is not None
    assert restored.step == 1


def test_a_run_without_checkpoints_begins_anew(folder: Folder, tmp_path: Path) -> None:
    assert restore_newest(folder, tmp_path / "restored") is None


def test_pruning_keeps_the_newest_complete_ones_and_what_is_being_written(
    folder: Folder, tmp_path: Path
) -> None:
    folder.write("checkpoints/1/weights", b"cut off long ago")
    for step in (2, 3, 4):
        upload(folder, make_checkpoint(tmp_path, step), attempt="a")
    folder.write("checkpoints/5/weights", b"being written")

    prune(folder, keep=2)

    assert {file.name.split("/")[1] for file in folder.list()} == {"3", "4", "5"}
