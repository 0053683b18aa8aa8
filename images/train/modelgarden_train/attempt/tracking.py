"""The trackers of an attempt: which ones, and what they are told. Nothing here waits, but for the end."""

from __future__ import annotations

from collections.abc import Sequence

from modelgarden.api.curve import CurvePoint
from modelgarden.api.emissions import EmissionsRecord
from modelgarden.api.finetunejob import TrackerStatus
from modelgarden.api.layout import TENSORBOARD
from modelgarden_train.attempt.run import Run
from modelgarden_train.trackers.following import Following
from modelgarden_train.trackers.tensorboard import TensorBoardFiles

END_SECONDS = 20.0
"""How long the end of a training waits for its trackers."""
_TAGS = {
    "loss": "train/loss",
    "learning_rate": "train/learning_rate",
    "gradient_norm": "train/gradient_norm",
    "tokens_per_second": "train/tokens_per_second",
    "validation_loss": "validation/loss",
}


class Tracking:
    """All trackers that the job asks for."""

    def __init__(self, run: Run) -> None:
        self._following: list[Following] = []
        self._from_step = 0
        asked = run.config.trackers
        if asked is not None and asked.tensorboard is not None:
            folder = run.folder.child(TENSORBOARD)
            files = TensorBoardFiles(run.workspace / TENSORBOARD / run.attempt, folder)
            self._following.append(Following(files, url=folder.uri))

    def resumed(self, step: int) -> None:
        """Know the step that this attempt goes on from, before it begins."""
        self._from_step = step

    def started(self, hyperparameters: dict[str, str]) -> None:
        """Tell the hyperparameters that the training begins with."""
        for one in self._following:
            one.start(hyperparameters, from_step=self._from_step)

    def log(self, point: CurvePoint) -> None:
        """Tell a point of the curve."""
        known = {tag: getattr(point, field) for field, tag in _TAGS.items()}
        metrics = {tag: float(value) for tag, value in known.items() if value is not None}
        for one in self._following:
            one.log(point.step, metrics)

    def keep(self) -> None:
        """Have what was told so far brought to where people find it."""
        for one in self._following:
            one.keep()

    def finish(self, points: Sequence[CurvePoint], emissions: EmissionsRecord) -> None:
        """Tell what was found at the end."""
        for point in points:
            if point.validation_loss is not None:
                self.log(CurvePoint(step=point.step, validation_loss=point.validation_loss))
        if points:
            metrics = {"energy/kwh": emissions.energy_joules.total / 3.6e6}
            if emissions.emissions_milligrams is not None:
                metrics["emissions/kg"] = emissions.emissions_milligrams / 1e6
            for one in self._following:
                one.log(points[-1].step, metrics)

    def settle(self, seconds: float) -> None:
        """Have all that was told in its place before the process ends, for which the trackers have a little time."""
        self.keep()
        for one in self._following:
            one.wait(min(seconds, END_SECONDS))

    def status(self) -> tuple[TrackerStatus, ...]:
        """Return what the job's status tells."""
        return tuple(one.status() for one in self._following)
