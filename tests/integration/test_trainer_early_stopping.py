"""A training that stops early, as a job: interrupted by eviction, with another pod that finds only what is in storage."""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import Any

import pytest

from modelgarden.api.artifact import Manifest
from modelgarden.api.curve import TrainingCurve
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

EVERY, PATIENCE = 10, 8
FOUND_LITTLE = {
    "maxSteps": 400,
    "learningRate": 5e-3,
    "learningRateSchedule": "Constant",
    "effectiveBatchSize": 32,
    "maxSequenceLength": 64,
    "validation": {"everySteps": EVERY},
    "earlyStopping": {"patience": PATIENCE, "minDelta": 50},
    "lora": {"rank": 8, "alpha": 16},
}
"""No improvement is large enough after the first validation: the training stops nine validations in."""
STOPS = EVERY * (1 + PATIENCE)


def make_job(folder: Path, **fields: Any) -> dict[str, Any]:
    write_rows(folder / "rows.jsonl", make_rows(120))
    return make_config(
        run_uri=str(folder / "run"), model=str(tiny_model()), dataset=str(folder / "rows.jsonl"), **fields
    )


def attempt(folder: Path, job: dict[str, Any], name: str) -> TrainerProcess:
    """Return an attempt with a workspace of its own, as a pod has."""
    return TrainerProcess(trainer_python(), folder / name, job, attempt=name)


def check_end(run: Path, *, steps: int) -> tuple[Manifest, TrainingCurve]:
    """Hold what a finished run says of its validations together; return manifest and curve."""
    manifest = Manifest.read((run / "manifest.json").read_bytes(), reader=TRAIN_IMAGE)
    curve = TrainingCurve.read((run / "curve.json").read_bytes(), reader=TRAIN_IMAGE)
    found = manifest.validation
    assert found is not None
    assert (found.step, found.stopped_early) == (steps, True)
    validated = {point.step: point.validation_loss for point in curve.points if point.validation_loss}
    assert list(validated) == list(range(0, steps + 1, EVERY))
    assert curve.points[-1].step == steps
    trained = {step: loss for step, loss in validated.items() if step}
    assert found.best_step == min(trained, key=lambda step: trained[step] or 0)
    perplexity = manifest.evaluation.metrics[0]
    assert math.log(float(perplexity.tuned.value)) == pytest.approx(float(found.best_loss), rel=1e-4)
    assert math.log(float(perplexity.base.value)) == pytest.approx(validated[0], rel=1e-4)
    return manifest, curve


def test_an_evicted_training_stops_early_at_the_same_step_with_the_same_weights(tmp_path: Path) -> None:
    job = make_job(
        tmp_path, training=FOUND_LITTLE, formats=["Adapter"], checkpoint={"everySteps": 15, "keep": 1}
    )
    assert attempt(tmp_path, job, "prepare").run("prepare").exit_code == 0
    evicted = attempt(tmp_path, job, "evicted")
    evicted.start("train")
    wait_for(lambda: evicted.reached(15), START_SECONDS, what="the first checkpoint")
    report = evicted.report()
    assert report is not None
    assert report.validation is not None
    assert report.validation.best_step <= report.validation.step
    evicted.send(signal.SIGTERM)
    assert evicted.wait(60).exit_code == 143

    resumed = attempt(tmp_path, job, "resumed").run("train")

    assert resumed.exit_code == 0, resumed.log
    interrupted, curve = check_end(tmp_path / "run", steps=STOPS)
    card = (tmp_path / "run/README.md").read_text()
    assert f"The training stopped early at step {STOPS} of 400; the weights are those of step " in card

    whole = job | {"runUri": str(tmp_path / "whole"), "run": job["run"] | {"uid": "run-2"}}
    assert attempt(tmp_path, whole, "prepare-whole").run("prepare").exit_code == 0
    ended = attempt(tmp_path, whole, "whole-attempt").run("train")
    assert ended.exit_code == 0, ended.log
    uninterrupted, other = check_end(tmp_path / "whole", steps=STOPS)
    assert interrupted.validation == uninterrupted.validation
    assert interrupted.evaluation == uninterrupted.evaluation
    losses = [(point.step, point.loss, point.validation_loss) for point in curve.points]
    assert losses == [(point.step, point.loss, point.validation_loss) for point in other.points]


def test_all_weights_are_given_back_as_they_were_at_the_best_step(tmp_path: Path) -> None:
    """Held-out rows that are learned by nobody get worse while the others are learned by heart."""
    training = FOUND_LITTLE | {"learningRate": 3e-2, "earlyStopping": {"patience": 3}}
    job = make_job(tmp_path, training=training, method="Full", formats=["Merged16Bit"])
    assert attempt(tmp_path, job, "prepare").run("prepare").exit_code == 0

    ended = attempt(tmp_path, job, "attempt").run("train")

    assert ended.exit_code == 0, ended.log
    assert "Checked the merged model" in ended.log
    found = ended.message.evaluation
    assert found is not None
    manifest = Manifest.read((tmp_path / "run/manifest.json").read_bytes(), reader=TRAIN_IMAGE)
    assert manifest.validation is not None
    check_end(tmp_path / "run", steps=manifest.validation.step)
    assert manifest.validation.best_step == manifest.validation.step - 3 * EVERY
