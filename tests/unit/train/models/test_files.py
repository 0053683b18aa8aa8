"""The files of a base model: which ones are loaded, and what is refused before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelgarden_pod.errors import UserError
from modelgarden_pod.local import LocalFolder
from modelgarden_pod.retry import Patience
from modelgarden_train.models.base_model import fetch_base_model
from modelgarden_train.models.files import weight_files
from tests.unit.train.builders import make_config


def fetch_local(path: Path, *, weights: bool) -> None:
    """Take the base model from a local folder."""
    config = make_config(model_source=str(path))
    fetch_base_model(config, path.parent / "unused", weights=weights, patience=Patience())


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
