"""Whether a worker still works: what it reports are its signs of life. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from modelgarden_train.attempt.messages import Message, Stage, Stepped

PATIENT_SECONDS: Final = 3600.0
"""For what has no steps: loading, compiling for the first step, scoring, exporting. The largest of it without a sign is
the merge of a model of 100 GB and more, on a slow disk.
"""
LONGEST_GAP_SECONDS: Final = 10.0
"""Between two looks. What is longer is no silence of the worker: this machine has stood still, and the worker with it."""


class SignsOfLife:
    """How long a worker has been silent, and how long it may be."""

    def __init__(self, timeout_seconds: float, *, clock: Callable[[], float]) -> None:
        self._timeout = timeout_seconds
        self._clock = clock
        self._looked = clock()
        self._stepping = False
        self._heard = False
        self.silent_seconds = 0.0
        """As of the last look."""

    @property
    def most_seconds(self) -> float:
        """How long it may be silent now: once steps follow each other as long as one may take, else longer."""
        return self._timeout if self._stepping else max(self._timeout, PATIENT_SECONDS)

    def heard(self, message: Message) -> None:
        """Take a report for a sign of life, in whatever thread hears it."""
        self._heard = True
        if isinstance(message, Stage | Stepped):
            self._stepping = isinstance(message, Stepped)

    def stalled(self) -> bool:
        """Look now; tell whether the worker has been silent for too long."""
        now = self._clock()
        gap = min(now - self._looked, LONGEST_GAP_SECONDS)
        heard, self._heard = self._heard, False
        self.silent_seconds = 0.0 if heard else self.silent_seconds + gap
        self._looked = now
        return self.silent_seconds > self.most_seconds
