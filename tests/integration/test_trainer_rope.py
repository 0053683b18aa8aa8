"""Rows longer than the base model has positions for, on local files: real Unsloth on the CPU with a tiny Llama."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from modelgarden.api.artifact import DatasetReport, Manifest
from tests.integration.trainer_process import (
    TrainerProcess,
    make_config,
    printed_by,
    tiny_model,
    trainer_python,
    write_rows,
)

PROBE = Path(__file__).with_name("rope_probe.py")
POSITIONS = 512
"""Of the tiny model."""


def make_long_rows(count: int) -> list[dict[str, str]]:
    """Return rows of some 650 to 900 tokens, whose answer stands at their beginning."""
    chance = random.Random(4)
    rows = []
    for number in range(count):
        numbers = " ".join(str(chance.randrange(10)) for _ in range(chance.randint(600, 800)))
        rows.append({"prompt": f"{number} {numbers}", "completion": str(number)})
    return rows


def make_process(folder: Path, **training: Any) -> TrainerProcess:
    write_rows(folder / "rows.jsonl", make_long_rows(24))
    config = make_config(
        run_uri=str(folder / "run"),
        model=str(tiny_model()),
        dataset=(folder / "rows.jsonl").as_uri(),
        training={
            "maxSteps": 6,
            "learningRate": 5e-3,
            "effectiveBatchSize": 8,
            "maxSequenceLength": 2048,
            **training,
        },
        evaluation={"maxNewTokens": 4, "maxRows": 4},
    )
    return TrainerProcess(trainer_python(), folder / "process", config, attempt="attempt-1")


@pytest.mark.parametrize("kind", ["YaRN", "Linear"])
def test_a_merged_model_has_the_positions_that_it_was_trained_with(kind: str, tmp_path: Path) -> None:
    process = make_process(tmp_path, ropeScaling={"type": kind, "factor": 2})
    prepared = process.run("prepare")
    assert prepared.exit_code == 0, prepared.log
    report = DatasetReport.model_validate_json((tmp_path / "run/dataset/report.json").read_bytes())
    assert report.longest_row_tokens > POSITIONS
    ended = process.run("train")
    assert ended.exit_code == 0, ended.log

    manifest = Manifest.model_validate_json((tmp_path / "run/manifest.json").read_bytes())
    used = manifest.hyperparameters
    assert (used["ropeScaling"], used["maxSequenceLength"]) == (f"{kind} x 2", "1024")
    assert used["batching"] == "padding-free"
    scored = manifest.evaluation.metrics[0]
    assert float(scored.tuned.value) < float(scored.base.value)
    merged = tmp_path / "run/artifact/merged"
    settings = json.loads((merged / "config.json").read_text())
    assert settings["max_position_embeddings"] == 2 * POSITIONS
    told = printed_by(PROBE, str(merged), folder=tmp_path)
    assert told["positions"] == 2 * POSITIONS
    assert told["farthest"] < 1e-4, "what Transformers makes of the merged model is what Unsloth trains"


def test_without_it_such_rows_are_left_out(tmp_path: Path) -> None:
    prepared = make_process(tmp_path).run("prepare")

    assert prepared.exit_code == 64, prepared.log
    assert "ropeScaling" in prepared.message.message
