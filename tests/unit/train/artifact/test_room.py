"""Where a 16-bit merge is made: on the GPU that holds it, else in the pod's memory, and never found out too late."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelgarden_pod.errors import UserError
from modelgarden_train.artifact.room import bytes_in_16_bit, fits_gpu, require_room

GIB = 2**30


def write_weights(path: Path, tensors: dict[str, dict[str, Any]]) -> None:
    """Write the header of a safetensors file, which is all that is read."""
    header = json.dumps({"__metadata__": {"format": "pt"}} | tensors).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def test_weights_are_counted_as_if_they_were_in_16_bit(tmp_path: Path) -> None:
    write_weights(
        tmp_path / "model-1.safetensors",
        {
            "a": {"dtype": "F32", "shape": [10, 10], "data_offsets": [0, 400]},
            "b": {"dtype": "BF16", "shape": [7], "data_offsets": [400, 414]},
        },
    )
    write_weights(
        tmp_path / "model-2.safetensors",
        {
            "c": {"dtype": "F8_E4M3", "shape": [3], "data_offsets": [0, 3]},
            "d": {"dtype": "U8", "shape": [50], "data_offsets": [3, 53]},
        },
    )
    (tmp_path / "config.json").write_text("{}")
    # The same weights once more, as Mistral's own software reads them.
    write_weights(
        tmp_path / "consolidated.safetensors",
        {"a": {"dtype": "BF16", "shape": [50], "data_offsets": [0, 100]}},
    )

    assert bytes_in_16_bit(tmp_path) == 200 + 14 + 6 + 50


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"a pointer to the weights"])
def test_a_damaged_file_of_weights_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)

    with pytest.raises(UserError, match=r"model\.safetensors of the base model") as raised:
        bytes_in_16_bit(tmp_path)

    assert raised.value.reason == "ModelInvalid"


@pytest.mark.parametrize(
    ("weights", "gpu", "want"),
    [
        pytest.param(15 * GIB, 80 * GIB, True, id="8 B on a large GPU"),
        pytest.param(15 * GIB, 16 * GIB, False, id="8 B where only the weights fit"),
        pytest.param(131 * GIB, 80 * GIB, False, id="70 B on a large GPU"),
    ],
)
def test_the_gpu_holds_more_than_the_weights(weights: int, gpu: int, want: bool) -> None:
    assert fits_gpu(weights, gpu=gpu) is want


def test_a_merge_that_fits_nowhere_is_refused_before_the_training() -> None:
    with pytest.raises(UserError) as raised:
        require_room(131 * GIB, gpu=80 * GIB, memory=64 * GIB)

    assert (raised.value.reason, raised.value.exit_code) == ("OutOfMemory", 64)
    for part in ("131.0 GiB", "80.0 GiB", "64.0 GiB", "resources.memory to 139Gi", "output.formats"):
        assert part in raised.value.message


@pytest.mark.parametrize(
    ("gpu", "memory"),
    [
        pytest.param(80, 8, id="the GPU holds it"),
        pytest.param(8, 16, id="the memory holds it"),
        pytest.param(8, None, id="the memory has no limit"),
    ],
)
def test_a_merge_that_fits_somewhere_is_not_refused(gpu: int, memory: int | None) -> None:
    require_room(15 * GIB, gpu=gpu * GIB, memory=None if memory is None else memory * GIB)
