"""Health: what is measured of this process, and the pure decision whether it works.

`/healthz` fails when a restart would help: a key that no worker takes, a worker that is gone, listings that fail,
a blocked loop. A standby that waits for the Lease is healthy and ready.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from modelgarden.runtime.queue import WorkQueue

BEAT_SECONDS = 1.0


@dataclass(frozen=True)
class Limits:
    """When a figure means that this process does not work, in seconds."""

    waiting: float
    """A key that waits for a worker."""
    working: float
    """A reconcile in work."""
    unsynced: float
    """Since the last complete listing."""
    lag: float
    """The event loop's lateness."""


@dataclass(frozen=True)
class Signs:
    """The figures of one moment."""

    leading: bool
    waiting: float = 0.0
    working: float = 0.0
    workers_gone: int = 0
    unsynced: float = 0.0
    lag: float = 0.0


def ailments(signs: Signs, limits: Limits) -> list[str]:
    """Return what is wrong, empty when healthy."""
    found = []
    if signs.lag > limits.lag:
        found.append(f"the event loop is {signs.lag:.0f} s late")
    if not signs.leading:
        return found
    if signs.waiting > limits.waiting:
        found.append(f"a key has waited {signs.waiting:.0f} s for a worker")
    if signs.working > limits.working:
        found.append(f"a reconcile has taken {signs.working:.0f} s")
    if signs.workers_gone:
        found.append(f"{signs.workers_gone} workers have ended")
    if signs.unsynced > limits.unsynced:
        found.append(f"the last complete listing was {signs.unsynced:.0f} s ago")
    return found


class Vitals:
    """Gathers the signs of this process."""

    def __init__(self, limits: Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._queue: WorkQueue | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._synced = clock()
        self._beat = clock()
        self.ready = False

    def start(self, queue: WorkQueue, workers: list[asyncio.Task[None]]) -> None:
        """Begin to lead."""
        self._queue = queue
        self._workers = workers
        self.synced()

    def stop(self) -> None:
        """Lead no longer."""
        self._queue = None
        self._workers = []

    def synced(self) -> None:
        """Note a complete listing."""
        self._synced = self._clock()

    async def beat(self) -> None:
        """Measure the event loop's lateness until cancelled."""
        while True:
            self._beat = self._clock()
            await asyncio.sleep(BEAT_SECONDS)

    def signs(self) -> Signs:
        """Return the figures of now."""
        lag = max(0.0, self._clock() - self._beat - BEAT_SECONDS)
        if self._queue is None:
            return Signs(leading=False, lag=lag)
        return Signs(
            leading=True,
            waiting=self._queue.oldest_seconds,
            working=self._queue.longest_work_seconds,
            workers_gone=sum(worker.done() for worker in self._workers),
            unsynced=self._clock() - self._synced,
            lag=lag,
        )

    @property
    def depth(self) -> int:
        """Return how many keys wait for a worker."""
        return self._queue.depth if self._queue is not None else 0

    @property
    def working(self) -> int:
        """Return how many keys are in work."""
        return self._queue.working if self._queue is not None else 0

    def ailments(self) -> list[str]:
        """Return what is wrong now."""
        return ailments(self.signs(), self._limits)
