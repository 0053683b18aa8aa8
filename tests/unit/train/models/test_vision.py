"""Which models see, and the files that say how their images are cut up."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelgarden.api.finetunejob import Vision
from modelgarden_pod.errors import UserError
from modelgarden_train.models.adapters import may_learn
from modelgarden_train.models.vision import (
    processor_files,
    require_vision_model,
    with_image_template,
)
from tests.unit.train.builders import make_config


def write(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_a_vision_model_has_a_kind_and_a_processor(tmp_path: Path) -> None:
    write(tmp_path, config={"model_type": "qwen2_5_vl"}, preprocessor_config={})

    require_vision_model(tmp_path, source="hf://org/vl")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"config": {"model_type": "llama"}, "preprocessor_config": {}}, "hf://org/vl is of the kind llama"),
        ({"config": {"model_type": "gemma3"}, "processor_config": {}}, "trains those of the kinds qwen2_vl"),
        (
            {"config": {"model_type": "qwen3_vl"}},
            "has neither preprocessor_config.json nor processor_config.json",
        ),
    ],
)
def test_what_sees_nothing_says_what_to_do(files: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told) as raised:
        require_vision_model(write(tmp_path, **files), source="hf://org/vl")

    assert raised.value.reason == "ModelInvalid"


@pytest.mark.parametrize(
    ("settings", "want"),
    [
        ({"min_pixels": 3136, "max_pixels": 12845056}, (3136, 50_000)),
        ({"size": {"shortest_edge": 65536, "longest_edge": 16777216}}, (50_000, 50_000)),
        ({"min_pixels": 3136, "max_pixels": 20_000}, (3136, 20_000)),
        ({}, (3136, 50_000)),
    ],
    ids=["Qwen2.5-VL", "Qwen3-VL", "a smaller limit of the model's", "nothing said"],
)
def test_a_limit_on_pixels_stands_under_every_name_it_is_read_by(
    settings: dict[str, Any], want: tuple[int, int], tmp_path: Path
) -> None:
    write(
        tmp_path,
        preprocessor_config={"patch_size": 14, **settings},
        processor_config={"image_processor": settings},
    )

    files = processor_files(tmp_path, max_pixels=50_000)

    for found in (files["preprocessor_config.json"], files["processor_config.json"]["image_processor"]):
        assert (found["min_pixels"], found["max_pixels"]) == want
        assert found["size"] == {"shortest_edge": want[0], "longest_edge": want[1]}
    assert files["preprocessor_config.json"]["patch_size"] == 14


def test_a_template_beside_the_tokenizer_is_taken_and_none_is_made_up(tmp_path: Path) -> None:
    own, none = SimpleNamespace(chat_template="own"), SimpleNamespace(chat_template=None)
    with_image_template(own, tmp_path, source="hf://org/vl")
    with pytest.raises(UserError, match=r"has no chat template.*dataset\.chatTemplate"):
        with_image_template(none, tmp_path, source="hf://org/vl")

    with_image_template(
        none, write(tmp_path, chat_template={"chat_template": "beside"}), source="hf://org/vl"
    )

    assert (own.chat_template, none.chat_template) == ("own", "beside")


@pytest.mark.parametrize(
    ("vision", "name", "learns"),
    [
        (None, "visual.blocks.0.attn.qkv", True),
        (Vision(), "visual.blocks.0.attn.qkv", False),
        (Vision(), "model.visual.merger.mlp.0.weight", False),
        (Vision(), "model.layers.0.self_attn.q_proj.weight", True),
        (Vision(vision_layers=True), "visual.blocks.0.attn.qkv", True),
    ],
)
def test_the_layers_that_see_learn_where_it_is_asked_for(
    vision: Vision | None, name: str, learns: bool
) -> None:
    assert may_learn(make_config(vision=vision), name) == learns
