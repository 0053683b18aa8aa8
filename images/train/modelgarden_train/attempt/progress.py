"""What the trainer tells about itself while it runs: /progress for the operator, /metrics for Prometheus."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modelgarden.api.curve import CurvePoint
from modelgarden.api.emissions import EmissionsRecord
from modelgarden.api.finetunejob import Progress, TrackerStatus, ValidationStatus
from modelgarden.api.pods import TrainReport
from modelgarden_pod.retry import Outage

logger = logging.getLogger(__name__)

SPEED_WINDOW_SECONDS = 30.0
"""Tokens per second and the remaining time are taken over this window."""


class ProgressBoard:
    """The newest state, written by the training thread and read by HTTP threads."""

    def __init__(
        self,
        attempt: str,
        *,
        emissions: Callable[[], EmissionsRecord] | None = None,
        outages: Sequence[Outage] = (),
        stage: str = "Restoring",
    ) -> None:
        self._lock = threading.Lock()
        self._attempt = attempt
        self._emissions = emissions
        self._trackers: Callable[[], tuple[TrackerStatus, ...]] = tuple
        self._outages = tuple(outages)
        self._progress = Progress(stage=stage)
        self._hyperparameters: dict[str, str] = {}
        self._revision: str | None = None
        self._validation: ValidationStatus | None = None
        self._window: list[tuple[float, int, int]] = []
        self.tokens = 0

    def stage(self, name: str) -> None:
        """Show a stage from now on."""
        logger.info("Stage", extra={"stage": name})
        self.update(stage=name)

    def update(self, **fields: Any) -> None:
        """Change fields of the progress."""
        with self._lock:
            self._progress = self._progress.model_copy(update=fields)

    def resolved(self, hyperparameters: dict[str, str]) -> None:
        """Tell what is used where the spec leaves a choice."""
        with self._lock:
            self._hyperparameters = hyperparameters

    def followed_by(self, trackers: Callable[[], tuple[TrackerStatus, ...]]) -> None:
        """Tell of trackers from now on."""
        self._trackers = trackers

    def revision(self, revision: str | None) -> None:
        """Tell the commit of a base model from the hub."""
        with self._lock:
            self._revision = revision

    def step(self, step: int, *, total: int, epoch: float, tokens: int, loss: float | None) -> None:
        """Note a finished optimizer step; `tokens` counts since the start of this attempt."""
        now = time.monotonic()
        self.tokens = tokens
        self._window.append((now, step, tokens))
        while now - self._window[0][0] > SPEED_WINDOW_SECONDS and len(self._window) > 2:
            self._window.pop(0)
        fields: dict[str, Any] = {
            "step": step,
            "total_steps": total,
            "percent": _percent(step, total),
            "epoch": f"{epoch:.2f}",
        }
        if loss is not None and math.isfinite(loss):
            fields["loss"] = f"{loss:.4f}"
        began, first_step, first_tokens = self._window[0]
        if now > began and step > first_step:
            fields["tokens_per_second"] = round((tokens - first_tokens) / (now - began))
            fields["eta_seconds"] = round((total - step) * (now - began) / (step - first_step))
        self.update(**fields)

    def logged(self, point: CurvePoint) -> None:
        """Tell what an objective with rewards is followed by."""
        told = {"reward": point.reward, "reward_margin": point.reward_margin}
        self.update(**{name: f"{value:.4f}" for name, value in told.items() if value is not None})

    def validated(self, found: ValidationStatus) -> None:
        """Tell what the validations have found; a training that stopped early has no more steps than it did."""
        with self._lock:
            self._validation = found
        if found.stopped_early:
            self.update(total_steps=found.step, percent=100, eta_seconds=0)

    @property
    def at_step(self) -> int:
        """The newest step that is done."""
        with self._lock:
            return self._progress.step

    @property
    def tokens_per_second(self) -> int | None:
        """Speed of the newest steps, None before there are two."""
        with self._lock:
            return self._progress.tokens_per_second

    def resumed(self, step: int, *, total: int) -> None:
        """Note the checkpoint that this attempt goes on from; where it is the last step, no other one follows."""
        self.update(
            step=step,
            total_steps=total,
            percent=_percent(step, total),
            resumed_from_step=step,
            checkpoint_step=step,
        )

    def report(self) -> TrainReport:
        """Return the body of /progress."""
        emissions = self._emissions() if self._emissions else None
        with self._lock:
            return TrainReport(
                attempt=self._attempt,
                progress=self._progress,
                resolved_hyperparameters=self._hyperparameters,
                model_revision=self._revision,
                emissions=emissions,
                outage=next((one.message for one in self._outages if one.message), None),
                trackers=self._trackers(),
                validation=self._validation,
            )

    def metrics(self) -> CollectorRegistry:
        """Return the metrics, read when they are scraped."""
        registry = CollectorRegistry()
        registry.register(_BoardMetrics(self))
        return registry


def _percent(step: int, total: int) -> int:
    return 100 * step // total if total else 0


class _BoardMetrics(Collector):
    """The report in Prometheus' terms. Counters are of this attempt alone, so that pods can be summed."""

    def __init__(self, board: ProgressBoard) -> None:
        self._board = board

    def collect(self) -> list[Metric]:
        """Return the metrics."""
        report = self._board.report()
        progress = report.progress
        energy = CounterMetricFamily(
            "modelgarden_train_energy_joules", "Energy of this attempt before PUE.", labels=["component"]
        )
        attempts = report.emissions.attempts if report.emissions is not None else ()
        for own in (one.energy_joules for one in attempts if one.id == report.attempt):
            for component in ("gpu", "cpu", "ram"):
                energy.add_metric([component], getattr(own, component))
        return [
            GaugeMetricFamily("modelgarden_train_step", "Optimizer steps done.", progress.step),
            GaugeMetricFamily("modelgarden_train_steps", "Optimizer steps in all.", progress.total_steps),
            GaugeMetricFamily("modelgarden_train_loss", "Training loss.", float(progress.loss or "nan")),
            GaugeMetricFamily(
                "modelgarden_train_validation_loss",
                "Validation loss, where the training is validated.",
                float(report.validation.loss if report.validation is not None else "nan"),
            ),
            GaugeMetricFamily(
                "modelgarden_train_checkpoint_step",
                "Step of the newest complete checkpoint.",
                progress.checkpoint_step or 0,
            ),
            CounterMetricFamily(
                "modelgarden_train_tokens", "Tokens trained on by this attempt.", self._board.tokens
            ),
            energy,
        ]
