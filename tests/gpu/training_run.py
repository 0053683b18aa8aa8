"""A training on CUDA that is watched, and its row of the table."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelgarden.api.artifact import Manifest
from modelgarden.api.curve import TrainingCurve
from modelgarden.api.documents import TRAIN_IMAGE
from tests.integration.harness.waiting import wait_for
from tests.integration.trainer_process import START_SECONDS, TrainerProcess

OWN_METRIC = {
    "SFT": "perplexity",
    "DPO": "preferenceMargin",
    "ORPO": "preferenceMargin",
    "KTO": "preferenceMargin",
    "GRPO": "reward",
}
"""What each objective is to move."""


def gpus() -> int:
    """Return how many GPUs this machine has."""
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return len(listed.stdout.splitlines())


needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(gpus() == 0, reason="needs an NVIDIA GPU: nvidia-smi is not there"),
]


@dataclass(frozen=True)
class TrainingRow:
    """What a training did."""

    text: str
    before: float
    after: float
    manifest: Manifest
    log: str


def trained(process: TrainerProcess, folder: Path, *, modality: str = "Text") -> TrainingRow:
    """Train what is prepared to its end, with an eye on its memory."""
    peak = 0

    def ended() -> bool:
        nonlocal peak
        try:
            report = process.report()
        except RuntimeError:
            return True
        if report is not None:
            peak = max(peak, report.progress.gpu_memory_mib or 0)
        return False

    process.start("train")
    wait_for(
        ended, 2 * START_SECONDS, what="the end of the training"
    )  # Unsloth compiles layers of its own first
    done = process.wait()
    assert done.exit_code == 0, done.log
    manifest = Manifest.read((folder / "run/manifest.json").read_bytes(), reader=TRAIN_IMAGE)
    return row_of(manifest, folder, process, peak=peak, log=done.log, modality=modality)


def row_of(
    manifest: Manifest, folder: Path, process: TrainerProcess, *, peak: int, log: str, modality: str
) -> TrainingRow:
    """Return a training's row of the table."""
    used = manifest.hyperparameters
    objective = used.get("objective", "SFT")
    points = TrainingCurve.read((folder / "run/curve.json").read_bytes(), reader=TRAIN_IMAGE).points
    speed = max((point.tokens_per_second or 0 for point in points), default=0)
    metric = {one.name: one for one in manifest.evaluation.metrics}[OWN_METRIC[objective]]
    before, after = float(metric.base.value), float(metric.tuned.value)
    cells = [
        str(process.config.get("method", "LoRA")), objective, modality, used["optimizer"],
        f"{speed:,}" if speed else "", f"{peak:,}", metric.name, f"{before:.3g}", f"{after:.3g}",
    ]  # fmt: skip
    return TrainingRow(f"| {' | '.join(cells)} |", before, after, manifest, log)
