"""Several processes that share the steps of a training learn what one learns, with the real Unsloth on the CPU."""

from __future__ import annotations

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
    lives,
    make_config,
    make_rows,
    printed_by,
    tiny_model,
    trainer_python,
    write_rows,
)

PROBE = Path(__file__).with_name("ranks_probe.py")
STEPS, STOP = 9, 4
"""Of the probe."""
CASES = ["SFT LoRA", "SFT Full", "DPO LoRA", "DPO Full", "ORPO LoRA", "KTO LoRA"]
RANKS = {"MODELGARDEN_WITHOUT_GPUS": "1"}

Runs = dict[str, dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Runs]:
    printed: Any = printed_by(PROBE, str(tiny_model()), folder=tmp_path_factory.mktemp("ranks"))
    return list(printed)


def values(run: dict[str, Any], name: str) -> list[float]:
    return [point[name] for point in run["points"]]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_have_the_curve_of_one(case: str, found: list[Runs]) -> None:
    alone, first, second = found[0][case]["alone"], found[0][case]["ranks"], found[1][case]["ranks"]

    assert values(first, "step") == list(range(1, STEPS + 1))
    for name in ("loss", "learning_rate", "gradient_norm"):
        assert values(first, name) == pytest.approx(values(alone, name), rel=1e-4, abs=1e-6)
        assert values(second, name) == values(first, name), "all processes take one and the same step"
    assert first["tokens"] == alone["tokens"]
    assert (alone["processes"], first["processes"]) == (None, "2")
    assert max(values(alone, "loss")) - min(values(alone, "loss")) > 0.1, "there is something to agree on"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("went_on", ["ranks after one", "ranks after ranks", "one after ranks"])
def test_a_checkpoint_is_gone_on_with_by_any_number_of_processes(
    went_on: str, case: str, found: list[Runs]
) -> None:
    alone, run = found[0][case]["alone"], found[0][case][went_on]

    assert values(run, "step") == list(range(STOP + 1, STEPS + 1))
    for name in ("loss", "learning_rate", "gradient_norm"):
        assert values(run, name) == pytest.approx(values(alone, name)[STOP:], rel=1e-4, abs=1e-6)


def test_all_processes_end_at_the_step_at_which_one_of_them_is_asked_to(found: list[Runs]) -> None:
    for runs in found:
        assert values(runs["SFT LoRA"]["ranks first"], "step") == list(range(1, STOP + 1))


def test_a_training_that_stops_early_does_so_at_the_same_step_and_keeps_the_same_weights(
    found: list[Runs],
) -> None:
    alone = found[0]["stopped early"]["alone"]
    together = [runs["stopped early"]["ranks"] for runs in found]

    assert (alone["best"]["step"], alone["best"]["bestStep"]) == (STOP, 1)
    assert alone["best"]["stoppedEarly"] is True
    others = [found[0]["stopped early"][name] for name in ("ranks after one", "one after ranks")]
    for run in (*together, *others):
        assert {**run["best"], "loss": ""} == {**alone["best"], "loss": ""}
        assert run["weights"] == pytest.approx(alone["weights"], rel=1e-6), "those of the best step"
    for run in together:
        losses = [loss for _, loss in run["validated"]]
        # The last steps of this learning rate make much of a rounding.
        assert losses == pytest.approx([loss for _, loss in alone["validated"]], rel=1e-2)
    assert [step for step, _ in alone["validated"]] == list(range(STOP + 1))


KILLED_ONCE = """
import os, signal
from pathlib import Path
from modelgarden_train.objectives import passes

run = passes.Passes.run

def killed(self, rows, *, ranks, **given):
    marker = Path(os.environ["MARKER"])
    if ranks.rank == 1 and self._steps == 7 and not marker.exists():
        marker.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return run(self, rows, ranks=ranks, **given)

passes.Passes.run = killed
"""

SECOND_IS_OF_LITTLE_MEMORY = """
import torch
from modelgarden_train.objectives import labelled, passes

make, run, ranks_of = labelled.packed, passes.Passes.run, []

def noted(self, rows, *, ranks, **given):
    ranks_of[:] = [ranks]
    return run(self, rows, ranks=ranks, **given)

def packed(rows):
    if ranks_of[0].rank == 1 and sum(len(row["input_ids"]) for row in rows) > 150:
        raise torch.OutOfMemoryError("made up")
    return make(rows)

labelled.packed, passes.Passes.run = packed, noted
"""


def make_process(folder: Path, *, gpus: int, attempt: str = "1", **variables: str) -> TrainerProcess:
    write_rows(folder / "rows.jsonl", make_rows(120))
    config = make_config(
        run_uri=(folder / "run").as_uri(),
        model=str(tiny_model()),
        dataset=(folder / "rows.jsonl").as_uri(),
        formats=["Adapter"],
        checkpoint={"everySteps": 3, "keep": 1},
        training={"epochs": 3, "learningRate": 5e-3, "effectiveBatchSize": 32, "maxSequenceLength": 64},
        gpus=gpus,
    )
    return TrainerProcess(trainer_python(), folder, config, attempt=attempt, variables=RANKS | variables)


def losses_of(folder: Path) -> dict[str, float]:
    """Return the losses of a run's curve by name and step."""
    points = TrainingCurve.read((folder / "run/curve.json").read_bytes(), reader=TRAIN_IMAGE).points
    named = [
        (f"{name} {point.step}", loss)
        for point in points
        for name, loss in (("training", point.loss), ("validation", point.validation_loss))
    ]
    return {name: loss for name, loss in named if loss is not None}


def manifest_of(folder: Path) -> Manifest:
    return Manifest.read((folder / "run/manifest.json").read_bytes(), reader=TRAIN_IMAGE)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    process = make_process(folder, gpus=0)
    assert process.run("prepare").exit_code == 0
    trained = process.run("train")
    assert trained.exit_code == 0, trained.log
    return folder


def test_a_run_in_which_a_process_is_killed_goes_on_and_ends_as_one_of_a_single_process(
    alone: Path, tmp_path: Path
) -> None:
    process = make_process(tmp_path, gpus=2, MARKER=str(tmp_path / "killed"))
    process.patch_worker(KILLED_ONCE)
    assert process.run("prepare").exit_code == 0

    killed = process.run("train")
    assert killed.exit_code == 1, killed.log
    assert killed.message.reason in ("TrainingFailed", "OutOfMemory")
    assert "SIGKILL" in killed.message.message
    process.attempt = "2"
    resumed = process.run("train")

    assert resumed.exit_code == 0, resumed.log
    assert '"Resuming"' in resumed.log
    assert losses_of(tmp_path) == pytest.approx(losses_of(alone), rel=1e-4)
    assert len(losses_of(alone)) == 12 + 2, "of each step, and of the held-out rows before and after"
    manifest, single = manifest_of(tmp_path), manifest_of(alone)
    assert manifest.hyperparameters == single.hyperparameters | {"processes": "2"}
    assert manifest.evaluation.rows == single.evaluation.rows
    assert [one.reason for one in manifest.emissions.attempts] == ["Failed", "Completed"]


def test_where_the_memory_of_one_process_is_too_small_all_of_them_split_the_step(
    alone: Path, tmp_path: Path
) -> None:
    process = make_process(tmp_path, gpus=2)
    process.patch_worker(SECOND_IS_OF_LITTLE_MEMORY)
    assert process.run("prepare").exit_code == 0

    trained = process.run("train")

    assert trained.exit_code == 0, trained.log
    assert trained.log.count("Out of GPU memory, trying smaller passes") >= 2, "once in each process"
    budget = int(manifest_of(tmp_path).hyperparameters["tokensPerPass"])
    assert budget <= 150 < int(manifest_of(alone).hyperparameters["tokensPerPass"])
    assert losses_of(tmp_path) == pytest.approx(losses_of(alone), rel=1e-4)


def test_sigterm_saves_the_step_that_all_processes_are_at(tmp_path: Path) -> None:
    process = make_process(tmp_path, gpus=2)
    assert process.run("prepare").exit_code == 0
    process.start("train")
    wait_for(lambda: process.reached(3), START_SECONDS, what="the first checkpoint")
    workers = process.workers()
    process.send(signal.SIGTERM)

    ended = process.wait()

    assert ended.exit_code == 143, ended.log
    assert len(workers) == 2
    assert not any(map(lives, workers))
    (saved,) = (tmp_path / "run/checkpoints").glob("*/checkpoint.json")
    assert int(saved.parent.name) >= 3
