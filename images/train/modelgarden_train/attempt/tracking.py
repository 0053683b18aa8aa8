"""The trackers of an attempt: which ones, and what they are told. Nothing here waits, but for the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from modelgarden.api.curve import CurvePoint
from modelgarden.api.emissions import JOULES_PER_KWH, EmissionsRecord
from modelgarden.api.finetunejob import TrackerStatus
from modelgarden.api.layout import TENSORBOARD, WANDB
from modelgarden_pod.errors import Terminated
from modelgarden_pod.gpus import GpuLoad
from modelgarden_train.attempt.run import Run
from modelgarden_train.trackers import mlflow, wandb
from modelgarden_train.trackers.following import Following
from modelgarden_train.trackers.tensorboard import TensorBoardFiles
from modelgarden_train.trackers.tracker import Ended

END_SECONDS = 20.0
"""How long the end of an attempt waits for all its trackers together."""
_TAGS = {
    "loss": "train/loss",
    "learning_rate": "train/learning_rate",
    "gradient_norm": "train/gradient_norm",
    "reward": "train/reward",
    "reward_margin": "train/reward_margin",
    "tokens_per_second": "train/tokens_per_second",
    "validation_loss": "validation/loss",
}


class Tracking:
    """All trackers that the job asks for."""

    def __init__(self, run: Run) -> None:
        self._following = _asked(run)
        self._validates = run.config.training.validation is not None
        self._from_step = 0

    def resumed(self, step: int) -> None:
        """Know the step that this attempt goes on from, before it begins."""
        self._from_step = step

    def started(self, hyperparameters: dict[str, str]) -> None:
        """Tell the hyperparameters that the training begins with."""
        for one in self._following:
            one.start(hyperparameters, from_step=self._from_step)

    def log(self, point: CurvePoint, *, epoch: float | None = None, gpus: GpuLoad | None = None) -> None:
        """Tell a point of the curve, and how far and how loaded the GPUs were then."""
        metrics = measured(point)
        if epoch is not None:
            metrics["train/epoch"] = epoch
        if gpus is not None:
            metrics |= {"gpu/memory_mib": gpus.memory_mib, "gpu/utilization_percent": gpus.percent}
        for one in self._following:
            one.log(point.step, metrics)

    def keep(self) -> None:
        """Have what was told so far brought to where people find it."""
        for one in self._following:
            one.keep()

    def found(self, points: Sequence[CurvePoint], emissions: EmissionsRecord) -> None:
        """Tell what was found at the end, over all attempts; what was validated on the way is told already."""
        for point in points:
            if point.validation_loss is not None and not self._validates:
                self.log(CurvePoint(step=point.step, validation_loss=point.validation_loss))
        if points:
            for one in self._following:
                one.log(points[-1].step, spent(emissions))

    @contextmanager
    def ended(self, seconds: Callable[[], float]) -> Iterator[None]:
        """Tell how what runs inside ends. All trackers together have a little time for it, `seconds()` at most."""
        ended: Ended = "Failed"
        try:
            yield
            ended = "Completed"
        except Terminated:
            ended = "Terminated"
            raise
        finally:
            until = time.monotonic() + min(seconds(), END_SECONDS)
            for one in self._following:
                one.finish(ended)
            for one in self._following:
                one.wait(max(0.0, until - time.monotonic()))

    def status(self) -> tuple[TrackerStatus, ...]:
        """Return what the job's status tells."""
        return tuple(one.status() for one in self._following)


def measured(point: CurvePoint) -> dict[str, float]:
    """Return a point of the curve by the names that the trackers show."""
    known = {tag: getattr(point, field) for field, tag in _TAGS.items()}
    return {tag: float(value) for tag, value in known.items() if value is not None}


def spent(emissions: EmissionsRecord) -> dict[str, float]:
    """Return energy before PUE and emissions, where they are known, by the names that the trackers show."""
    metrics = {"energy/kwh": emissions.energy_joules.total / JOULES_PER_KWH}
    if emissions.emissions_milligrams is not None:
        metrics["emissions/kg"] = emissions.emissions_milligrams / 1e6
    return metrics


def _asked(run: Run) -> list[Following]:
    asked = run.config.trackers
    if asked is None:
        return []
    following = []
    if asked.mlflow is not None:
        following.append(
            Following(mlflow.MLflowRun(asked.mlflow, run.config.run), keep_seconds=mlflow.KEEP_SECONDS)
        )
    if asked.tensorboard is not None:
        local = run.workspace / TENSORBOARD / run.attempt
        following.append(Following(TensorBoardFiles(local, run.folder.child(TENSORBOARD))))
    if asked.wandb is not None:
        local = run.workspace / WANDB / run.attempt
        tracker = wandb.WandbRun(asked.wandb, run.config.run, local=local, folder=run.folder.child(WANDB))
        following.append(
            Following(tracker, keep_seconds=wandb.KEEP_SECONDS if asked.wandb.mode == "Online" else math.inf)
        )
    return following
