"""GRPO on CUDA: the model's own completions, which Unsloth generates. Skipped where there is no GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gpu.training_run import TrainingRow, needs_gpu, trained
from tests.integration.test_trainer_rewards import SHORT, make_process
from tests.integration.trainer_process import tiny_model

pytestmark = needs_gpu


@pytest.mark.parametrize("method", ["LoRA", "QLoRA", "Full"])
def test_short_answers_are_learned_where_they_are_rewarded(
    method: str, tmp_path: Path, trained_row: Callable[[TrainingRow], None]
) -> None:
    process = make_process(tmp_path, [SHORT], method=method)
    model = tiny_model("--dtype", "bfloat16", "--hidden", "1024")
    process.config = {**process.config, "modelSource": str(model), "gpus": 1}
    process.config["training"]["learningRate"] = 1e-4 if method == "Full" else 1e-3
    prepared = process.run("prepare")
    assert prepared.exit_code == 0, prepared.log

    row = trained(process, tmp_path)

    trained_row(row)
    assert row.after > row.before + 0.3
