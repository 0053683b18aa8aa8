"""Two GPUs that share the steps of a training, over NCCL. Skipped where there are fewer."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelgarden.api.artifact import Manifest
from modelgarden.api.curve import TrainingCurve
from modelgarden.api.documents import TRAIN_IMAGE
from tests.gpu.test_trainer_cuda import make_job, training
from tests.gpu.training_run import gpus
from tests.integration.trainer_process import TrainerProcess, tiny_model, trainer_python

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(gpus() < 2, reason="needs two NVIDIA GPUs"),
]


def trained(folder: Path, *, method: str, gpus: int) -> tuple[Manifest, list[float]]:
    """Train on so many GPUs; return the manifest and the losses."""
    config = make_job(
        tiny_model("--dtype", "bfloat16", "--hidden", "1024"),
        folder,
        method=method,
        gpus=gpus,
        training=training(learningRate=1e-4 if method == "Full" else 1e-3),
        formats=["Merged16Bit"],
    )
    process = TrainerProcess(
        trainer_python(), folder / "process", config, attempt="only",
        variables={"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(gpus)))},
    )  # fmt: skip
    assert process.run("prepare").exit_code == 0
    ended = process.run("train")
    assert ended.exit_code == 0, ended.log
    points = TrainingCurve.read((folder / "run/curve.json").read_bytes(), reader=TRAIN_IMAGE).points
    manifest = Manifest.read((folder / "run/manifest.json").read_bytes(), reader=TRAIN_IMAGE)
    return manifest, [point.loss for point in points if point.loss is not None]


@pytest.mark.parametrize("method", ["LoRA", "QLoRA", "Full"])
def test_two_gpus_learn_what_one_learns_and_both_are_metered(method: str, tmp_path: Path) -> None:
    alone, wanted = trained(tmp_path / "one", method=method, gpus=1)

    manifest, losses = trained(tmp_path / "two", method=method, gpus=2)

    assert "processes" not in alone.hyperparameters
    assert manifest.hyperparameters["processes"] == "2"
    assert len(losses) == len(wanted) > 50
    # Sums of 16 bits in another order: the first steps agree closely, later ones drift apart.
    assert losses[:5] == pytest.approx(wanted[:5], rel=5e-3)
    assert losses[-1] == pytest.approx(wanted[-1], rel=0.1)
    assert len(manifest.emissions.devices) == 2
    assert manifest.emissions.energy_joules.gpu > 0
    for one in (manifest, alone):
        perplexity = one.evaluation.metrics[0]
        assert float(perplexity.tuned.value) < float(perplexity.base.value)
