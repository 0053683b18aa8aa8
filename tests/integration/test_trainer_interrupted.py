"""A run that is stopped, killed and stalls at moments that nobody chose has the loss curve of one that is left alone."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelgarden.api.artifact import Manifest
from modelgarden.api.curve import CurvePoint, TrainingCurve
from modelgarden.api.documents import TRAIN_IMAGE
from tests.integration.harness.waiting import wait_for
from tests.integration.trainer_process import (
    START_SECONDS,
    TrainerProcess,
    make_config,
    make_rows,
    tiny_model,
    trainer_python,
    write_rows,
)

STEPS, EVERY = 90, 10
SILENT_SECONDS = 20
"""Many times what a step of a tiny model takes, on a busy machine as well."""
STALLS = """
import os, threading
from modelgarden_train.objectives import sft

make = sft.sft_trainer

def sft_trainer(scope, model, plan):
    trainer = make(scope, model, plan)
    step = trainer.training_step

    def training_step(*args, **kwargs):
        if trainer.state.global_step >= int(os.environ["STALLS_AT"]):
            threading.Event().wait()
        return step(*args, **kwargs)

    trainer.training_step = training_step
    return trainer

sft.sft_trainer = sft_trainer
"""


class Run:
    """One run on local files, whatever attempts it takes."""

    def __init__(self, folder: Path, dataset: Path) -> None:
        self.folder = folder
        self._config: dict[str, Any] = make_config(
            run_uri=str(folder / "run"),
            model=str(tiny_model()),
            dataset=dataset.as_uri(),
            formats=["Adapter"],
            training={
                "maxSteps": STEPS,
                "learningRate": 5e-3,
                "effectiveBatchSize": 8,
                "maxSequenceLength": 64,
                "lora": {"rank": 8, "alpha": 16, "dropout": 0.1},
            },
            checkpoint={"everySteps": EVERY, "keep": 2},
            stallTimeoutSeconds=SILENT_SECONDS,
        )

    def attempt(self, name: str) -> TrainerProcess:
        """Return the next attempt: a pod of its own, with an empty workspace."""
        return TrainerProcess(trainer_python(), self.folder / name, self._config, attempt=name)

    def points(self) -> list[CurvePoint]:
        """Return the curve, without the speed."""
        curve = TrainingCurve.read((self.folder / "run/curve.json").read_bytes(), reader=TRAIN_IMAGE)
        return [point.model_copy(update={"tokens_per_second": None}) for point in curve.points]


def interrupted_at(
    process: TrainerProcess, step: int, number: signal.Signals, *, saved: bool = False
) -> None:
    """Train to a step, or until a checkpoint of this attempt's own is stored too, and send a signal."""
    process.start("train")

    def reached() -> bool:
        report = process.report()
        if report is None:
            return False
        found = report.progress
        own = (found.checkpoint_step or 0) > (found.resumed_from_step or 0)
        return found.step >= step and (own or not saved)

    wait_for(reached, START_SECONDS, what=f"step {step}")
    process.send(number)


@pytest.mark.timeout(1500)
def test_a_run_that_is_interrupted_again_and_again_has_the_curve_of_one_that_is_not(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    seed = int(os.environ.get("MODELGARDEN_TEST_SEED", random.randrange(10**6)))
    chance = random.Random(seed)
    stopped, killed, stalls = (chance.randrange(first, first + 24) for first in (4, 32, 66))
    dataset = tmp_path / "rows.jsonl"
    write_rows(dataset, make_rows(120))
    whole, other = Run(tmp_path / "whole", dataset), Run(tmp_path / "interrupted", dataset)
    assert whole.attempt("prepare").run("prepare").exit_code == 0
    shutil.copytree(whole.folder / "run", other.folder / "run")
    ended = whole.attempt("only").run("train")
    assert ended.exit_code == 0, ended.log

    first = other.attempt("stopped")
    interrupted_at(first, stopped, signal.SIGTERM)
    assert first.wait().exit_code == 143
    second = other.attempt("killed")
    # What a pod has spent is stored with each checkpoint: one that is killed before its first leaves no record.
    interrupted_at(second, killed, signal.SIGKILL, saved=True)
    assert second.wait().exit_code == -signal.SIGKILL
    third = other.attempt("stalled")
    third.variables = {"STALLS_AT": str(stalls)}
    third.patch_worker(STALLS)
    ended = third.run("train")
    assert (ended.exit_code, ended.message.reason) == (1, "Stalled"), ended.log
    assert f"at step {stalls} and was ended" in ended.message.message
    assert "in training_step" in ended.log, "the stacks of the worker"
    ended = other.attempt("last").run("train")
    assert ended.exit_code == 0, ended.log

    expected, found = whole.points(), other.points()
    figure(
        f"seed {seed}: stopped at {stopped}, killed at {killed}, stalled at {stalls} of {STEPS} steps; "
        f"bitwise equal: {found == expected}"
    )
    assert [point.step for point in found] == [point.step for point in expected] == list(range(STEPS + 1))
    for name in ("loss", "learning_rate", "gradient_norm", "validation_loss"):
        values = [[getattr(point, name) or 0.0 for point in points] for points in (found, expected)]
        assert values[0] == pytest.approx(values[1], rel=1e-6), name
    manifest = Manifest.read((other.folder / "run/manifest.json").read_bytes(), reader=TRAIN_IMAGE)
    assert len(manifest.emissions.attempts) == 4
