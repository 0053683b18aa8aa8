"""The worker's reports to its supervisor: a training's watcher, whose every word goes over the channel."""

from __future__ import annotations

import time
from typing import Final

from modelgarden.api.finetunejob import ValidationStatus
from modelgarden_train.attempt.messages import (
    Alive,
    Best,
    Channel,
    GpuMemory,
    Logged,
    Resolved,
    Saved,
    Stage,
    Stepped,
    Validated,
)
from modelgarden_train.attempt.signals import StopRequest
from modelgarden_train.objectives.checkpoint import Checkpoint

ALIVE_SECONDS: Final = 5.0
"""Between two signs of life: more would only take the socket from other reports."""


class Reporter:
    """Tells the supervisor how far the worker is."""

    def __init__(self, channel: Channel, stop: StopRequest) -> None:
        self._channel = channel
        self._stop = stop
        self._alive_at = -ALIVE_SECONDS
        self.newest: Checkpoint | None = None
        """The newest checkpoint of this attempt; the supervisor leaves it on the disk."""
        self.hyperparameters: dict[str, str] = {}
        """Of the training that began last."""
        self.validation: ValidationStatus | None = None
        """What its validations have found."""

    @property
    def stopping(self) -> bool:
        """Whether SIGTERM has come."""
        return self._stop.received

    def stage(self, name: str) -> None:
        """Begin a stage, unless SIGTERM has come: a library may have swallowed what the handler raised in it.

        Raises:
            Terminated: SIGTERM has come.
        """
        self._stop.check()
        self._channel.send(Stage(name=name))

    def resolved(self, hyperparameters: dict[str, str]) -> None:
        """Tell the hyperparameters that the training begins with."""
        self.hyperparameters = hyperparameters
        self._channel.send(Resolved(hyperparameters=hyperparameters))

    def step(self, step: int, *, total: int, epoch: float, tokens: int, loss: float | None) -> None:
        """Tell of a finished optimizer step."""
        self._channel.send(Stepped(step=step, total=total, epoch=epoch, tokens=tokens, loss=loss))

    def logged(
        self,
        step: int,
        *,
        loss: float,
        learning_rate: float | None,
        gradient_norm: float | None,
        reward: float | None,
        reward_margin: float | None,
    ) -> None:
        """Tell what was taken after a step."""
        self._channel.send(
            Logged(
                step=step,
                loss=loss,
                learning_rate=learning_rate,
                gradient_norm=gradient_norm,
                reward=reward,
                reward_margin=reward_margin,
            )
        )

    def validating(self) -> None:
        """Tell the stage alone: who validates looks at `stopping`."""
        self._channel.send(Stage(name="Validating"))

    def validated(self, step: int, *, loss: float) -> None:
        """Tell the held-out rows' loss; the training goes on."""
        self._channel.send(Validated(step=step, loss=loss))
        self._channel.send(Stage(name="Training"))

    def best(self, found: ValidationStatus) -> None:
        """Tell what all validations so far have found."""
        self.validation = found
        self._channel.send(Best(found=found))

    def alive(self) -> None:
        """Tell that the work goes on, where that has not been told just now."""
        now = time.monotonic()
        if now - self._alive_at >= ALIVE_SECONDS:
            self._alive_at = now
            self._channel.send(Alive())

    def gpu_memory(self, mib: int | None) -> None:
        """Tell the peak of the GPU's memory."""
        self._channel.send(GpuMemory(mib=mib))

    def saved(self, checkpoint: Checkpoint) -> None:
        """Hand a checkpoint over."""
        self.newest = checkpoint
        self._channel.send(Saved(step=checkpoint.step, path=checkpoint.path))
