"""A base model's config.json with more positions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelgarden.api.finetunejob import RopeScaling
from modelgarden_pod.errors import UserError
from modelgarden_train.models.rope import scaled, with_more_positions

FOUR = RopeScaling(factor=4.0)
LLAMA = {"model_type": "llama", "max_position_embeddings": 8192}


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        pytest.param(
            {"rope_theta": 5e5, "rope_scaling": None}, "rope_scaling", id="as Transformers 4 wrote it"
        ),
        pytest.param({"rope_theta": 1e4}, "rope_scaling", id="without a scaling"),
        pytest.param(
            {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
            "rope_parameters",
            id="Transformers 5",
        ),
    ],
)
def test_positions_are_scaled_where_the_model_tells_of_them(settings: dict[str, Any], place: str) -> None:
    found = scaled({**LLAMA, **settings}, FOUR, source="hf://org/name")

    assert found["max_position_embeddings"] == 32_768
    assert found[place] == {
        **{name: value for name, value in (settings.get(place) or {}).items() if name == "rope_theta"},
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    assert {"rope_scaling", "rope_parameters"} & found.keys() == {place}


def test_linear_scaling_is_named_as_transformers_does() -> None:
    found = scaled(
        {**LLAMA, "rope_theta": 1e4}, RopeScaling(type="Linear", factor=1.5), source="hf://org/name"
    )

    assert found["rope_scaling"]["rope_type"] == "linear"
    assert found["max_position_embeddings"] == 12_288


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
            r"scaled already \(llama3\)",
        ),
        (
            {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}},
            r"scaled already \(linear\)",
        ),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "of several kinds"),
        ({"alibi": True}, "not rotary"),
        ({"rope_theta": 1e4, "max_position_embeddings": None}, "no max_position_embeddings"),
    ],
)
def test_a_model_whose_positions_cannot_be_scaled_is_refused(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why) as told:
        scaled({**LLAMA, **settings}, FOUR, source="hf://org/name")

    assert told.value.reason == "ModelInvalid"
    assert "hf://org/name" in told.value.message


def test_the_other_files_are_the_models_own(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text(json.dumps({**LLAMA, "rope_theta": 1e4}))
    (base / "model.safetensors").write_bytes(b"weights")

    for _ in range(2):  # another attempt in the same workspace
        folder = with_more_positions(base, tmp_path / "scaled", FOUR, source="hf://org/name")

    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert json.loads((folder / "config.json").read_text())["max_position_embeddings"] == 32_768
    assert json.loads((base / "config.json").read_text())["max_position_embeddings"] == 8192
