"""Rows with images on CUDA, by Unsloth's own vision path. Skipped where there is no GPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gpu.training_run import TrainingRow, needs_gpu, trained
from tests.integration.test_trainer_vision import make_process, make_squares

pytestmark = needs_gpu


@pytest.mark.parametrize("method", ["LoRA", "QLoRA"])
def test_unsloth_learns_what_images_show(
    method: str, tmp_path: Path, trained_row: Callable[[TrainingRow], None]
) -> None:
    process = make_process(tmp_path, make_squares(tmp_path, 120), method=method, gpus=1)
    prepared = process.run("prepare")
    assert prepared.exit_code == 0, prepared.log

    row = trained(process, tmp_path, modality="Vision")

    trained_row(row)
    assert row.after < row.before / 2
    assert "Checked the merged model" in row.log
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

    row = trained(process, tmp_path, modality="Vision")

    assert row.after < row.before
    assert "Checked the merged model" in row.log
