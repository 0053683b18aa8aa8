"""A base model in a folder of S3 is the same in prepare and in every attempt, tried on a local folder."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelgarden.api.artifact import DatasetReport, FileEntry
from modelgarden_pod.errors import UserError
from modelgarden_pod.local import LocalFolder
from modelgarden_pod.storage import Folder
from modelgarden_train.base_model import disk_error, download_unchanged, fetch_base_model
from modelgarden_train.model_files import weight_files
from modelgarden_train.run import Run
from tests.unit.builders import make_dataset_report
from tests.unit.train.test_environment import make_config

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

    def download(self, name: str, target: Path, *, sha256: str | None = None) -> FileEntry:
        if name == "config.json":
            self.write("model.safetensors", b"weights of B")
        return super().download(name, target, sha256=sha256)


class Removed(LocalFolder):
    """A folder whose weights are removed while it is downloaded."""

    def download(self, name: str, target: Path, *, sha256: str | None = None) -> FileEntry:
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


def fetch_local(path: Path, *, weights: bool) -> None:
    """Take the base model from a local folder."""
    config = make_config(model_source=str(path), run_uri=str(path.parent / "run"))
    run = Run(config=config, folder=LocalFolder(path.parent / "run"), workspace=path.parent, attempt="a")
    fetch_base_model(run, path.parent / "unused", weights=weights)


@pytest.mark.parametrize(
    ("name", "quantization", "want_parts"),
    [
        pytest.param(
            "Qwen3-8B-unsloth-bnb-4bit",
            {"quant_method": "bitsandbytes", "load_in_4bit": True},
            ("(bitsandbytes)", "16-bit model", "/Qwen3-8B)", "QLoRA quantizes it by itself"),
            id="Unsloth's own",
        ),
        pytest.param("llama-bnb-4bit", {}, ("/llama)",), id="an older one, without a method"),
        pytest.param("Qwen3-8B-GPTQ", {"quant_method": "gptq"}, ("(gptq)", "16-bit model"), id="GPTQ"),
    ],
)
def test_a_base_model_that_is_quantized_already_is_refused_before_anything_is_trained(
    name: str, quantization: dict[str, object], want_parts: tuple[str, ...], tmp_path: Path
) -> None:
    folder = LocalFolder(tmp_path / name)
    folder.write("config.json", json.dumps({"quantization_config": quantization}).encode())

    with pytest.raises(UserError) as raised:
        fetch_local(folder.path, weights=False)

    assert raised.value.reason == "ModelInvalid"
    assert "is quantized already" in raised.value.message
    for part in want_parts:
        assert part in raised.value.message


def test_a_configuration_that_is_no_object_is_refused(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "model")
    folder.write("config.json", b"[]")

    with pytest.raises(UserError, match=r"config\.json of .* is no JSON object") as raised:
        fetch_local(folder.path, weights=False)

    assert raised.value.reason == "ModelInvalid"


def index_of(*names: str) -> bytes:
    """Return the index of a model in shards."""
    return json.dumps({"weight_map": {f"layer.{name}": name for name in names}}).encode()


@pytest.mark.parametrize(
    ("files", "want"),
    [
        pytest.param(
            {"model.safetensors": b"", "consolidated.safetensors": b""}, ["model.safetensors"], id="whole"
        ),
        pytest.param(
            {
                "model.safetensors.index.json": index_of(
                    "a-1.safetensors", "a-2.safetensors", "a-1.safetensors"
                ),
                "a-1.safetensors": b"",
                "a-2.safetensors": b"",
                "consolidated.safetensors": b"",
            },
            ["a-1.safetensors", "a-2.safetensors"],
            id="shards",
        ),
        pytest.param(
            {"model.safetensors": b"", "model.safetensors.index.json": index_of("a-1.safetensors")},
            ["model.safetensors"],
            id="both: the whole file is what Transformers loads",
        ),
        pytest.param({"other.safetensors": b""}, ["other.safetensors"], id="another name"),
        pytest.param({"consolidated.safetensors": b""}, [], id="another layout"),
    ],
)
def test_weights_are_the_files_that_are_loaded(
    files: dict[str, bytes], want: list[str], tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    assert [path.name for path in weight_files(tmp_path)] == want


@pytest.mark.parametrize(
    ("index", "want_text"),
    [
        pytest.param(b"{", r"model\.safetensors\.index\.json .* cannot be read", id="no JSON"),
        pytest.param(
            b'{"weight_map": []}', r"model\.safetensors\.index\.json .* cannot be read", id="no map"
        ),
        pytest.param(
            index_of("a.safetensors"), r"names a\.safetensors, which is not there", id="a missing shard"
        ),
    ],
)
def test_an_index_without_its_weights_is_refused_before_they_are_loaded(
    index: bytes, want_text: str, tmp_path: Path
) -> None:
    folder = LocalFolder(tmp_path / "model")
    folder.write("config.json", b"{}")
    folder.write("model.safetensors.index.json", index)

    with pytest.raises(UserError, match=want_text) as raised:
        fetch_local(folder.path, weights=True)

    assert raised.value.reason == "ModelInvalid"


@pytest.mark.parametrize(
    ("code", "want_text"),
    [
        (errno.ENOSPC, "No space left on device; free some"),
        (errno.EDQUOT, "free some"),
        (errno.EACCES, "Permission denied; let this process read and write there"),
        (errno.EROFS, "let this process read and write there"),
    ],
)
def test_a_disk_that_takes_no_files_is_no_outage_of_the_hub(code: int, want_text: str) -> None:
    found = disk_error(OSError(code, os.strerror(code), "/workspace/huggingface"))

    assert found is not None
    assert found.errno == code
    assert want_text in str(found)
    assert "/workspace/huggingface" in str(found)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(errno.ECONNRESET, "reset"),
        TimeoutError(),
        PermissionError("the hub's word for a token that has expired"),
        ValueError("x"),
    ],
)
def test_what_the_network_fails_with_is_no_error_of_the_disk(error: Exception) -> None:
    assert disk_error(error) is None
