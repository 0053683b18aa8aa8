"""Has a tracker follow a training from a thread of its own: the training never waits for it, and never ends with it.

What a tracker cannot do is told once, in the log and in the status; it is then let be for the rest of the attempt.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping

from modelgarden.api.finetunejob import TrackerStatus
from modelgarden.api.messages import clean
from modelgarden_pod.errors import PodError
from modelgarden_pod.process import described
from modelgarden_train.trackers.tracker import Tracker

logger = logging.getLogger(__name__)

MOST_WAITING = 2_000
"""More than a whole run tells, so that only a tracker that hangs loses anything."""


class Following:
    """A tracker and its thread."""

    def __init__(self, tracker: Tracker, *, url: str | None, most_waiting: int = MOST_WAITING) -> None:
        self._tracker = tracker
        self._url = url
        self._most_waiting = most_waiting
        self._changed = threading.Condition()
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = False
        self._begun = False
        self._problem: str | None = None
        threading.Thread(target=self._work, name=f"tracker-{tracker.name}", daemon=True).start()

    def start(self, hyperparameters: Mapping[str, str], *, from_step: int) -> None:
        """Begin with the first hyperparameters that are told; those after a change of memory are no other run."""
        if not self._begun:
            self._begun = True
            self._put(lambda: self._tracker.start(hyperparameters, from_step=from_step))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Have metrics noted soon."""
        self._put(lambda: self._tracker.log(step, metrics))

    def keep(self) -> None:
        """Have what was noted brought to where people find it, soon."""
        self._put(self._tracker.keep)

    def wait(self, seconds: float) -> None:
        """Wait until all that was told is done, the tracker has failed, or so much time has passed."""
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._problem is not None or not (self._waiting or self._busy), timeout=seconds
            )
        if not done:
            self._fail(f"it was not done within {seconds:.0f} s of the end of the training")

    def status(self) -> TrackerStatus:
        """Return what the job's status tells."""
        with self._changed:
            return TrackerStatus(name=self._tracker.name, url=self._url, problem=self._problem)

    def _put(self, call: Callable[[], None]) -> None:
        with self._changed:
            if self._problem is not None:
                return
            full = len(self._waiting) >= self._most_waiting
            if not full:
                self._waiting.append(call)
                self._changed.notify_all()
        if full:
            self._fail("it does not keep up with the training")

    def _work(self) -> None:
        while self._problem is None:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._problem is not None)
                if not self._waiting:
                    return
                call = self._waiting.popleft()
                self._busy = True
            try:
                call()
            except PodError as error:
                self._fail(error.message)
            except Exception as error:  # whatever a library raises: the training is worth more
                logger.exception("A tracker fails", extra={"tracker": self._tracker.name})
                self._fail(described(error))
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _fail(self, message: str) -> None:
        with self._changed:
            if self._problem is not None:
                return
            self._problem = clean(message, length=512)
            self._waiting.clear()
            self._changed.notify_all()
        logger.warning("A tracker is let be", extra={"tracker": self._tracker.name, "error": self._problem})
