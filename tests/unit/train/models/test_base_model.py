"""A base model in a folder of S3 is the same in prepare and in every attempt, tried on a local folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelgarden.api.artifact import DatasetReport
from modelgarden_pod.errors import UserError
from modelgarden_pod.folder import Folder
from modelgarden_pod.local import LocalFolder
from modelgarden_train.models.base_model import download_unchanged
from tests.unit.builders import make_dataset_report

CHANGED = "changed since the dataset was prepared; create a new FineTuneJob"


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    folder = LocalFolder(tmp_path / "model")
    folder.write("config.json", b"{}")
    folder.write("model.safetensors", b"weights of A")
    folder.write("README.md", b"about A")
    return folder


def prepared(folder: Folder, tmp_path: Path) -> str:
    """Return what prepare notes of the model."""
    return download_unchanged(folder, tmp_path / "tokenizer", weights=False, seen=None)


def test_what_prepare_saw_is_what_train_takes(folder: LocalFolder, tmp_path: Path) -> None:
    seen = prepared(folder, tmp_path)

    again = download_unchanged(folder, tmp_path / "train", weights=True, seen=seen)

    assert again == seen
    assert {path.name for path in (tmp_path / "tokenizer").iterdir()} == {"config.json"}
    assert {path.name for path in (tmp_path / "train").iterdir()} == {"config.json", "model.safetensors"}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda folder: folder.write("model.safetensors", b"weights of B"), id="other weights"),
        pytest.param(lambda folder: folder.write("config.json", b"[]"), id="another configuration"),
        pytest.param(lambda folder: folder.write("extra.safetensors", b"more"), id="more weights"),
        pytest.param(lambda folder: folder.delete(["model.safetensors"]), id="fewer weights"),
    ],
)
def test_a_model_that_was_replaced_since_prepare_is_refused(
    change: Callable[[Folder], object], folder: LocalFolder, tmp_path: Path
) -> None:
    seen = prepared(folder, tmp_path)
    change(folder)

    with pytest.raises(UserError, match=CHANGED) as raised:
        download_unchanged(folder, tmp_path / "train", weights=True, seen=seen)

    assert raised.value.reason == "ModelInvalid"
    assert not (tmp_path / "train").exists(), "nothing is downloaded in vain"


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "pytorch_model.bin",
        "original/model.safetensors",
        "consolidated-00001-of-00002.safetensors",
    ],
)
def test_files_that_no_model_consists_of_may_change(name: str, folder: LocalFolder, tmp_path: Path) -> None:
    seen = prepared(folder, tmp_path)
    folder.write(name, b"something else")

    assert download_unchanged(folder, tmp_path / "train", weights=True, seen=seen) == seen


class Replaced(LocalFolder):
    """A folder whose weights are replaced while it is downloaded."""

    def download(self, name: str, target: Path, *, sha256: str | None = None) -> str:
        if name == "config.json":
            self.write("model.safetensors", b"weights of B")
        return super().download(name, target, sha256=sha256)


class Removed(LocalFolder):
    """A folder whose weights are removed while it is downloaded."""

    def download(self, name: str, target: Path, *, sha256: str | None = None) -> str:
        if name == "config.json":
            self.delete(["model.safetensors"])
        return super().download(name, target, sha256=sha256)


@pytest.mark.parametrize("kind", [Replaced, Removed])
@pytest.mark.parametrize("seen_by_prepare", [True, False])
def test_a_model_that_changes_during_the_download_is_refused(
    kind: type[LocalFolder], seen_by_prepare: bool, folder: LocalFolder, tmp_path: Path
) -> None:
    seen = prepared(folder, tmp_path) if seen_by_prepare else None
    want = CHANGED if seen_by_prepare else "changed while it was read"

    with pytest.raises(UserError, match=want) as raised:
        download_unchanged(kind(folder.path), tmp_path / "train", weights=True, seen=seen)

    assert raised.value.reason == "ModelInvalid"


def test_an_empty_folder_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing lies under") as raised:
        download_unchanged(LocalFolder(tmp_path / "none"), tmp_path / "train", weights=True, seen=None)

    assert raised.value.reason == "ModelNotFound"


def test_a_report_of_before_the_listing_was_noted_is_still_read() -> None:
    old = make_dataset_report().model_dump(mode="json", by_alias=True)
    old.pop("modelListing", None)

    assert DatasetReport.from_dict(old).model_listing is None
