"""Rows with images on CUDA, by Unsloth's own vision path. Skipped where there is no GPU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from modelgarden.api.artifact import Manifest
from tests.integration.test_trainer_vision import make_process, make_squares
from tests.integration.trainer_process import START_SECONDS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        shutil.which("nvidia-smi") is None, reason="needs an NVIDIA GPU: nvidia-smi is not there"
    ),
]


@pytest.mark.parametrize("method", ["LoRA", "QLoRA"])
def test_unsloth_learns_what_images_show(method: str, tmp_path: Path) -> None:
    process = make_process(tmp_path, make_squares(tmp_path, 120), method=method, gpus=1)
    prepared = process.run("prepare")
    assert prepared.exit_code == 0, prepared.log
    process.start("train")
    ended = process.wait(2 * START_SECONDS)  # Unsloth compiles the model's own layers first
    assert ended.exit_code == 0, ended.log

    manifest = Manifest.model_validate_json((tmp_path / "run/manifest.json").read_bytes())
    scores = {metric.name: metric for metric in manifest.evaluation.metrics}
    assert float(scores["perplexity"].tuned.value) < float(scores["perplexity"].base.value) / 2
    assert "Checked the merged model" in ended.log
    adapter = tmp_path / "run/artifact/adapter"
    header = (adapter / "adapter_model.safetensors").read_bytes()[8:200_000]
    assert b"language_model" in header
    assert b"visual" not in header.split(b"}}")[0]
    assert (
        json.loads((tmp_path / "run/artifact/merged/preprocessor_config.json").read_text())["max_pixels"]
        == 3136
    )


def test_layers_that_see_learn_where_it_is_asked_for(tmp_path: Path) -> None:
    process = make_process(tmp_path, make_squares(tmp_path, 60), gpus=1, formats=["Merged16Bit"])
    process.config = {**process.config, "vision": {"maxPixels": 3136, "visionLayers": True}}
    prepared = process.run("prepare")
    assert prepared.exit_code == 0, prepared.log
    process.start("train")
    ended = process.wait(2 * START_SECONDS)

    assert ended.exit_code == 0, ended.log
    assert "Checked the merged model" in ended.log
