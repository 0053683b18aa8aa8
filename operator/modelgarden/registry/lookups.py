"""Answers of S3 that many resources share, kept for a short while.

A thousand jobs on the same inputs then cost a handful of requests: those that ask while an answer is under
way wait for it, those that ask soon after get the same one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

KEEP_SECONDS = 10.0
KEEP_PROBLEM_SECONDS = 4.0
"""Shorter than the shortest back-off, so that a mended input is seen by the next look."""
FORGET_SECONDS = 600.0
"""After its end an answer is still known as a failure for so long; then it lets go of what its key holds."""


@dataclass
class _Entry:
    task: asyncio.Task[Any]
    failed_before: Exception | None
    expires: float = 0.0


class Lookups:
    """A cache of awaited answers, failures included."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[Hashable, _Entry] = {}
        self._sweep_at = 0.0

    async def get(
        self, key: Hashable, load: Callable[[], Awaitable[T]], *, keep_seconds: float = KEEP_SECONDS
    ) -> T:
        """Return the kept answer for the key, or load it; a failure is kept for a shorter while.

        What failed last time is asked for by one; the others get that failure again instead of waiting with it.
        """
        entry = self._entries.get(key)
        if entry is None or (entry.task.done() and self._clock() >= entry.expires):
            self._forget_old()
            task = asyncio.ensure_future(self._load(key, load, keep_seconds))
            entry = self._entries[key] = _Entry(task, failed_before=_failure(entry))
        elif entry.failed_before is not None and not entry.task.done():
            raise entry.failed_before.with_traceback(None)
        # The one who asked first may be cancelled; the others still want the answer.
        answer: T = await asyncio.shield(entry.task)
        return answer

    async def _load(self, key: Hashable, load: Callable[[], Awaitable[T]], keep_seconds: float) -> T:
        keep = KEEP_PROBLEM_SECONDS
        try:
            answer = await load()
            keep = keep_seconds
            return answer
        finally:
            self._entries[key].expires = self._clock() + keep

    def _forget_old(self) -> None:
        now = self._clock()
        if now < self._sweep_at:
            return
        self._sweep_at = now + FORGET_SECONDS / 10
        self._entries = {
            key: entry
            for key, entry in self._entries.items()
            if not entry.task.done() or now < entry.expires + FORGET_SECONDS
        }


def _failure(entry: _Entry | None) -> Exception | None:
    if entry is None or entry.task.cancelled():
        return None
    error = entry.task.exception()
    return error if isinstance(error, Exception) else None
