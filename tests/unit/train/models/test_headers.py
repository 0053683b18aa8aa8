"""The headers of a base model's weights, read where they lie."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from modelgarden_pod.local import LocalFolder
from modelgarden_pod.retry import Patience
from modelgarden_train.models.base_model import fetch_base_model
from modelgarden_train.models.headers import Shapes, tensor_shapes
from tests.unit.train.builders import make_config


def safetensors(**shapes: tuple[object, ...]) -> bytes:
    """Return a file whose tensors have these shapes, without their numbers."""
    told = {name: {"dtype": "BF16", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    header = json.dumps({"__metadata__": {"format": "pt"}, **told}).encode()
    return struct.pack("<Q", len(header)) + header


def shapes_of(tmp_path: Path, **files: bytes) -> Shapes | None:
    folder = LocalFolder(tmp_path / "model")
    folder.write("config.json", b"{}")
    for name, content in files.items():
        folder.write(name, content)
    config = make_config(model_source=str(folder.path))
    model = fetch_base_model(config, tmp_path / "unused", weights=False, patience=Patience())
    return tensor_shapes(config, model, patience=Patience())


def test_the_tensors_of_all_shards_are_found(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "1.safetensors", "b": "2.safetensors", "c": "2.safetensors"}}

    found = shapes_of(
        tmp_path,
        **{
            "model.safetensors.index.json": json.dumps(index).encode(),
            "1.safetensors": safetensors(a=(3, 4)),
            "2.safetensors": safetensors(b=(5,), c=(1, 2, 3)),
            "3.safetensors": safetensors(another=(9, 9)),
        },
    )

    assert found == {"a": (3, 4), "b": (5,), "c": (1, 2, 3)}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"weights", id="too short for a length"),
        pytest.param(b"not safetensors at all", id="a length beyond the file"),
        pytest.param(struct.pack("<Q", 2) + b"{]", id="no JSON"),
        pytest.param(struct.pack("<Q", 11) + b'{"a": true}', id="no tensors"),
        pytest.param(struct.pack("<Q", 11) + b'{"a": null}', id="nothing"),
        pytest.param(safetensors(a=(1,))[:-4], id="cut off"),
        pytest.param(safetensors(a=(-1,)), id="a negative shape"),
        pytest.param(safetensors(a=("2",)), id="a shape in words"),
        pytest.param(struct.pack("<Q", 20_000) + b"[" * 20_000, id="nested too deeply"),
    ],
)
def test_what_has_no_header_is_left_to_the_training(content: bytes, tmp_path: Path) -> None:
    assert shapes_of(tmp_path, **{"model.safetensors": content}) is None


def test_a_shard_that_is_not_there_is_left_to_the_training(tmp_path: Path) -> None:
    index = json.dumps({"weight_map": {"a": "1.safetensors"}}).encode()

    assert shapes_of(tmp_path, **{"model.safetensors.index.json": index}) is None


def test_a_model_without_weights_has_no_shapes(tmp_path: Path) -> None:
    assert shapes_of(tmp_path) is None
