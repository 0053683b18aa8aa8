"""The queue of keys to reconcile: each key at most once, never two workers on one key, first come first served.

The semantics are those of client-go's workqueue: a key that is added while it is in work runs once more afterwards;
failures back off exponentially per key, with jitter, so that one bad key delays no other.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from modelgarden.kube.resources import Key

FIRST_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 300.0
BURST_SECONDS: Final = 0.5
"""A pod that starts makes about six events of its own and of its Job within it."""


class Handle(Protocol):
    """A timer that can be cancelled, as of `loop.call_later`."""

    def cancel(self) -> None:
        """Never fire."""


CallLater = Callable[[float, Callable[[], Any]], Handle]


class WorkQueue:
    """Keys that wait for a worker, keys in work, and timers."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._call_later = call_later or asyncio.get_running_loop().call_later
        self._jitter = jitter
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._since: dict[Key, float] = {}
        self._working: dict[Key, float] = {}
        self._again: set[Key] = set()
        self._timers: dict[Key, tuple[float, Handle]] = {}
        self._failures: dict[Key, int] = {}

    def add(self, key: Key) -> None:
        """Have the key reconciled as soon as a worker is free."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._since:
            self._since[key] = self._clock()
            self._ready.put_nowait(key)

    def add_soon(self, key: Key) -> None:
        """Have the key reconciled after a moment, in which further events of a burst join it."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._since:
            self.add_after(key, BURST_SECONDS)

    def add_after(self, key: Key, seconds: float) -> None:
        """Have the key reconciled after a time, or earlier where it is due earlier already."""
        due, _ = self._timers.get(key, (float("inf"), None))
        if self._clock() + seconds < due:
            self._set_timer(key, seconds)

    async def get(self) -> Key:
        """Wait for the next key and take it into work; `done` or `retry` must follow."""
        key = await self._ready.get()
        del self._since[key]
        self._working[key] = self._clock()
        return key

    def done(self, key: Key, requeue_after: float | None) -> None:
        """End the work on a key; its newest answer replaces an earlier timer."""
        self._failures.pop(key, None)
        self._cancel_timer(key)
        if requeue_after is not None:
            self._set_timer(key, requeue_after)
        self._release(key)

    def retry(self, key: Key, *, after: float | None = None) -> float:
        """End the work on a key that failed; return the seconds until it is tried again.

        Without `after` the wait is 1 s, doubling to 300 s, of which up to half is taken off at random.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        wait = min(FIRST_RETRY_SECONDS * 2.0 ** min(failures, 16), LONGEST_RETRY_SECONDS)
        seconds = after if after is not None else wait * (0.5 + 0.5 * self._jitter())
        self._set_timer(key, seconds)
        self._release(key)
        return seconds

    def failures(self, key: Key) -> int:
        """Return how many times in a row the work on a key has failed."""
        return self._failures.get(key, 0)

    @property
    def depth(self) -> int:
        """Return how many keys wait for a worker."""
        return len(self._since)

    @property
    def working(self) -> int:
        """Return how many keys are in work."""
        return len(self._working)

    @property
    def oldest_seconds(self) -> float:
        """Return how long the first key has waited for a worker."""
        return self._clock() - next(iter(self._since.values())) if self._since else 0.0

    @property
    def longest_work_seconds(self) -> float:
        """Return how long the slowest reconcile in work has taken so far."""
        return self._clock() - min(self._working.values()) if self._working else 0.0

    def _release(self, key: Key) -> None:
        del self._working[key]
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _set_timer(self, key: Key, seconds: float) -> None:
        self._cancel_timer(key)
        self._timers[key] = (self._clock() + seconds, self._call_later(seconds, lambda: self._fire(key)))

    def _cancel_timer(self, key: Key) -> None:
        if key in self._timers:
            self._timers.pop(key)[1].cancel()

    def _fire(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)
