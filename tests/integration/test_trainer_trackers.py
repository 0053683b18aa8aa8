"""Trackers of a real training: one run over all attempts, and no harm from one that is not there."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hack.cluster import probes
from modelgarden.api.curve import CurvePoint, TrainingCurve
from modelgarden.api.documents import TRAIN_IMAGE
from modelgarden.api.finetunejob import TrackerStatus
from tests.integration.harness.waiting import wait_for
from tests.integration.mlflow_server import MLflowServer
from tests.integration.silent_server import refusing_server, silent_server
from tests.integration.trainer_process import (
    START_SECONDS,
    Ended,
    TrainerProcess,
    make_config,
    make_rows,
    printed_by,
    tiny_model,
    trainer_python,
    write_rows,
)

CANARY = f"Canary0Tracker9Value{'7' * 20}"
"""As long as a key of Weights & Biases."""
WANDB_PROBE = Path(__file__).with_name("wandb_probe.py")
WANDB_SILENCE_PROBE = Path(__file__).with_name("wandb_silence_probe.py")
END_SECONDS = 20.0
"""What trackers may take at the end of an attempt."""
HOLDS = """
import time
from modelgarden_train.objectives import sft

make = sft.sft_trainer

def sft_trainer(scope, model, plan):
    trainer = make(scope, model, plan)
    step = trainer.training_step

    def training_step(*args, **kwargs):
        while trainer.state.global_step >= 10 and not scope.watcher.stopping:
            time.sleep(0.05)
        return step(*args, **kwargs)

    trainer.training_step = training_step
    return trainer

sft.sft_trainer = sft_trainer
"""
"""Has a worker that has done ten steps do no more until SIGTERM comes."""
NOISE = 2.0
"""Factor by which two equal trainings differ on a machine that other tests keep busy."""


@dataclass
class Run:
    """A run in a folder of this machine, as the attempts of one job."""

    folder: Path
    config: dict[str, Any]

    @classmethod
    def prepared(cls, folder: Path, *, epochs: int, trackers: dict[str, Any]) -> Run:
        """Return one whose dataset is prepared."""
        dataset = folder / "rows.jsonl"
        write_rows(dataset, make_rows(120))
        config = make_config(
            run_uri=str(folder / "run"), model=str(tiny_model("--plain")), dataset=dataset.as_uri()
        )
        config["training"] |= {"epochs": epochs}
        run = cls(folder, config | {"checkpoint": {"everySteps": 4, "keep": 1}, "trackers": trackers})
        ended = run.attempt("prepare").run("prepare")
        assert ended.exit_code == 0, ended.log
        return run

    def attempt(self, name: str, **variables: str) -> TrainerProcess:
        """Return another attempt, on a machine of its own."""
        return TrainerProcess(
            trainer_python(), self.folder / name, self.config, attempt=name, variables=variables
        )

    def curve(self) -> tuple[CurvePoint, ...]:
        """Return the published loss curve."""
        return TrainingCurve.read(
            (self.folder / "run" / "curve.json").read_bytes(), reader=TRAIN_IMAGE
        ).points


@dataclass(frozen=True)
class Untracked:
    """What a training is without trackers."""

    losses: list[float | None]
    seconds: float


@pytest.fixture(scope="module")
def untracked(tmp_path_factory: pytest.TempPathFactory) -> Untracked:
    run = Run.prepared(tmp_path_factory.mktemp("untracked"), epochs=2, trackers={})
    ended, seconds = timed(run.attempt("train"))
    assert ended.message.trackers == ()
    return Untracked([point.loss for point in run.curve()], seconds)


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    server = MLflowServer(tmp_path_factory.mktemp("mlflow"))
    server.daemon.start()
    try:
        yield server
    finally:
        server.daemon.stop()


def timed(process: TrainerProcess) -> tuple[Ended, float]:
    began = time.monotonic()
    ended = process.run("train")
    assert ended.exit_code == 0, ended.log
    return ended, time.monotonic() - began


def test_attempts_are_one_run_of_mlflow(mlflow: MLflowServer, tmp_path: Path) -> None:
    asked = {"trackingUri": mlflow.uri, "experiment": "numbers", "runName": "count up"}
    run = Run.prepared(tmp_path, epochs=4, trackers={"mlflow": asked})

    evicted = run.attempt("evicted")
    evicted.patch_worker(HOLDS)
    evicted.start("train")
    wait_for(lambda: evicted.reached(8), START_SECONDS, what="a checkpoint")
    evicted.send(signal.SIGTERM)
    assert evicted.wait(60).exit_code == 143
    (stopped,) = mlflow.runs("numbers")
    ended, _ = timed(run.attempt("finishing"))

    (told,) = mlflow.runs("numbers")
    info, data = told["info"], told["data"]
    url = f"{mlflow.uri}/#/experiments/{info['experiment_id']}/runs/{info['run_id']}"
    assert ended.message.trackers == (TrackerStatus(name="MLflow", url=url),)
    assert (stopped["info"]["status"], info["status"]) == ("KILLED", "FINISHED")
    assert (info["run_id"], info["run_name"]) == (stopped["info"]["run_id"], "count up")
    tags = {tag["key"]: tag["value"] for tag in data["tags"]}
    assert tags["modelgarden.dev/run"] == "run-1"
    parameters = {one["key"]: one["value"] for one in data["params"]}
    assert {"learningRate": "0.005", "epochs": "4"}.items() <= parameters.items()
    curve = run.curve()
    losses = mlflow.history(info["run_id"], "train/loss")
    assert [step for step, _ in losses] == [point.step for point in curve if point.loss is not None]
    assert [loss for _, loss in losses] == pytest.approx([point.loss for point in curve[1:]])
    assert [step for step, _ in mlflow.history(info["run_id"], "validation/loss")] == [0, curve[-1].step]
    ((_, energy),) = mlflow.history(info["run_id"], "energy/kwh")
    assert energy > 0


def test_an_mlflow_that_is_away_is_told_all_once_it_is_back(tmp_path: Path) -> None:
    server = MLflowServer(tmp_path / "mlflow")
    asked = {"trackingUri": server.uri, "experiment": "numbers"}
    run = Run.prepared(tmp_path, epochs=60, trackers={"mlflow": asked})

    process = run.attempt("train")
    process.start("train")
    try:
        wait_for(lambda: problem_of(process), START_SECONDS, what="the tracker to be missed")
        server.daemon.start()
        ended = process.wait()
        assert ended.exit_code == 0, ended.log
        assert [one.problem for one in ended.message.trackers] == [None]
        (told,) = server.runs("numbers")
        losses = server.history(told["info"]["run_id"], "train/loss")
    finally:
        server.daemon.stop()

    assert [step for step, _ in losses] == [point.step for point in run.curve()[1:]]


def test_attempts_are_one_run_of_weights_and_biases_in_files(tmp_path: Path) -> None:
    run = Run.prepared(tmp_path, epochs=4, trackers={"wandb": {"project": "numbers", "mode": "Offline"}})

    evicted = run.attempt("evicted")
    evicted.patch_worker(HOLDS)
    evicted.start("train")
    wait_for(lambda: evicted.reached(8), START_SECONDS, what="a checkpoint")
    folder = tmp_path / "run" / "wandb"
    wait_for(lambda: list(folder.glob("*/*.wandb")), START_SECONDS, what="the run's file")
    evicted.send(signal.SIGTERM)
    assert evicted.wait(60).exit_code == 143
    ended, _ = timed(run.attempt("finishing"))

    assert ended.message.trackers == (TrackerStatus(name="Weights & Biases", url=folder.as_uri()),)
    told = [
        printed_by(WANDB_PROBE, str(file), folder=tmp_path / "probe") for file in sorted(folder.glob("*/*"))
    ]
    assert [one["id"] for one in told] == ["run-1", "run-1"]
    assert [one["exitCode"] for one in told] == [1, 0]
    assert told[-1]["config"]["learningRate"] == "0.005"
    points = {point.step: point.loss for point in run.curve()[1:]}
    losses = [dict(one["metrics"]["train/loss"]) for one in told]
    assert losses[0] | losses[1] == pytest.approx(points)
    assert min(losses[1]) == max(losses[0]) + 1
    assert [step for step, _ in told[-1]["metrics"]["validation/loss"]] == [0, max(points)]
    assert told[-1]["metrics"]["energy/kwh"][0][1] > 0


def asked_at(uri: str) -> dict[str, dict[str, Any]]:
    """Return what a job asks for of each tracker with a server."""
    return {
        "mlflow": {"trackingUri": uri, "experiment": "numbers", "secretRef": {"name": "mlflow"}},
        "wandb": {"project": "numbers", "baseUrl": uri, "secretRef": {"name": "wandb"}},
    }


@pytest.mark.parametrize("trouble", ["nobody listens", "never answers", "refuses"])
@pytest.mark.parametrize(
    ("tracker", "key"), [("mlflow", "MLFLOW_TRACKING_TOKEN"), ("wandb", "WANDB_API_KEY")]
)
def test_a_tracker_that_is_of_no_use_changes_neither_result_nor_time(
    trouble: str, tracker: str, key: str, untracked: Untracked, tmp_path: Path
) -> None:
    with silent_server() as silent, refusing_server() as refusing:
        uri = {
            "nobody listens": f"http://127.0.0.1:{probes.free_ports(1)[0]}",
            "never answers": silent,
            "refuses": refusing,
        }[trouble]
        run = Run.prepared(tmp_path, epochs=2, trackers={tracker: asked_at(uri)[tracker]})

        ended, seconds = timed(run.attempt("train", **{key: CANARY}))
        after = time.time() - (tmp_path / "run" / "manifest.json").stat().st_mtime

    assert after < END_SECONDS + 10
    assert [point.loss for point in run.curve()] == untracked.losses
    assert seconds < NOISE * untracked.seconds + END_SECONDS
    (status,) = ended.message.trackers
    assert status.problem is not None
    want = f"{uri} refuses: " if trouble == "refuses" else f"{uri} does not answer: "
    assert want in status.problem or "was not done within" in status.problem
    assert CANARY not in ended.log + ended.message.encode()


def test_weights_and_biases_is_asked_again_for_a_run_that_it_did_not_take(tmp_path: Path) -> None:
    with silent_server() as silent:
        found = printed_by(WANDB_SILENCE_PROBE, silent, folder=tmp_path)

    for told in found["told"]:
        assert told.startswith(f"{silent} does not answer: ")
        assert "in use" not in told


def problem_of(process: TrainerProcess) -> str | None:
    report = process.report()
    return report.trackers[0].problem if report is not None and report.trackers else None
