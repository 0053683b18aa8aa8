"""Has a tracker follow a training from a thread of its own: the training never waits for it, and never ends with it.

What a tracker cannot do is told, in the log and in the status. What does not answer for now is tried again; a tracker
that fails otherwise, or does not keep up, is let be for the rest of the attempt.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from modelgarden.api.finetunejob import TrackerStatus
from modelgarden.api.messages import clean
from modelgarden_pod.errors import PodError, TemporaryError
from modelgarden_pod.process import described
from modelgarden_train.trackers.tracker import Ended, Tracker

logger = logging.getLogger(__name__)

MOST_WAITING = 2_000
"""Calls that may wait, in some 2 MB: many minutes of steps of a second, for which no call of a tracker lasts."""


class Following:
    """A tracker and its thread."""

    def __init__(
        self, tracker: Tracker, *, keep_seconds: float = math.inf, most_waiting: int = MOST_WAITING
    ) -> None:
        """Follow with a tracker that keeps what it is told when it is asked to, and after so many seconds."""
        self._tracker = tracker
        self._keep_seconds = keep_seconds
        self._most_waiting = most_waiting
        self._changed = threading.Condition()
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = self._begun = self._let_be = False
        self._problem: str | None = None
        self._kept = time.monotonic()
        threading.Thread(target=self._work, name=f"tracker-{tracker.name}", daemon=True).start()

    def start(self, hyperparameters: Mapping[str, str], *, from_step: int) -> None:
        """Begin with the first hyperparameters that are told; those after a change of memory are no other run."""
        if not self._begun:
            self._begun = True
            self._put(lambda: self._tracker.start(hyperparameters, from_step=from_step))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Have metrics noted soon."""
        self._put(lambda: self._log(step, metrics))

    def keep(self) -> None:
        """Have what was noted brought to where people find it, soon."""
        if self._begun:
            self._put(self._keep)

    def finish(self, ended: Ended) -> None:
        """Have the run ended, soon."""
        if self._begun:
            self._put(lambda: self._brought(lambda: self._tracker.finish(ended)))

    def wait(self, seconds: float) -> None:
        """Wait until all that was told is done, the tracker is let be, or so much time has passed."""
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._let_be or not (self._waiting or self._busy), timeout=seconds
            )
        if not done:
            self._end(f"it was not done within {seconds:.0f} s of the end of the training")

    def status(self) -> TrackerStatus:
        """Return what the job's status tells."""
        with self._changed:
            return TrackerStatus(name=self._tracker.name, url=self._tracker.url, problem=self._problem)

    def _log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._tracker.log(step, metrics)
        if time.monotonic() - self._kept >= self._keep_seconds:
            self._keep()

    def _keep(self) -> None:
        self._brought(self._tracker.keep)

    def _brought(self, bring: Callable[[], None]) -> None:
        """Have what was noted brought to where people find it, which mends what an earlier time has failed with."""
        try:
            bring()
            self._tell(None)
        finally:  # not with every step while nothing answers
            self._kept = time.monotonic()

    def _put(self, call: Callable[[], None]) -> None:
        with self._changed:
            if self._let_be:
                return
            full = len(self._waiting) >= self._most_waiting
            if not full:
                self._waiting.append(call)
                self._changed.notify_all()
        if full:
            self._end("it does not keep up with the training")

    def _work(self) -> None:
        while not self._let_be:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._let_be)
                if self._let_be:
                    return
                call = self._waiting.popleft()
                self._busy = True
            try:
                call()
            except TemporaryError as error:
                self._tell(error.message)
            except PodError as error:
                self._end(error.message)
            except Exception as error:  # whatever a library raises: the training is worth more
                logger.exception("A tracker fails", extra={"tracker": self._tracker.name})
                self._end(described(error))
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _tell(self, problem: str | None) -> None:
        """Tell what it fails with, and once in the log; a tracker that is let be has said its last."""
        with self._changed:
            if self._let_be:
                return
            before, self._problem = self._problem, clean(problem, length=512) if problem else None
        if problem and not before:
            logger.warning(
                "A tracker does not answer", extra={"tracker": self._tracker.name, "error": self._problem}
            )

    def _end(self, problem: str) -> None:
        with self._changed:
            if self._let_be:
                return
            self._let_be, self._problem = True, clean(problem, length=512)
            self._waiting.clear()
            self._changed.notify_all()
        logger.warning("A tracker is let be", extra={"tracker": self._tracker.name, "error": self._problem})
