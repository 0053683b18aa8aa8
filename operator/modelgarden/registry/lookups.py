"""Answers of S3 that many resources share, kept for a short while.

A thousand jobs on the same inputs then cost a handful of requests: those that ask while an answer is under
way wait for it, those that ask soon after get the same one. Each answer tells when it is asked for anew, so that
who is kept waiting by one looks again at that very moment and not before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from modelgarden.registry.errors import StorageError

T = TypeVar("T")

KEEP_SECONDS = 10.0
"""From one question to the next of the same key, whatever the answer; a failure is never kept for less."""
REST_SECONDS = 3.0
"""From the end of a slow answer to the next question."""
SOON_SECONDS = 0.5
"""Shortest wait of those who were turned away because another one is asking."""
FORGET_SECONDS = 600.0
"""After its end an answer is still known as a failure for so long; then it lets go of what its key holds."""


@dataclass
class _Entry:
    task: asyncio.Task[Any]
    asked: float
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
        """Return the kept answer for the key, or load it. A StorageError that is raised says when it is `due`.

        What failed last time is asked for by one; the others get that failure again instead of waiting with it.
        """
        try:
            return await self._get(key, load, keep_seconds)
        except StorageError as error:
            raise error.due_in(self.due(key)) from error

    def due(self, key: Hashable) -> float:
        """Return the seconds after which the key's answer may be another one: it is asked for anew by then."""
        entry = self._entries.get(key)
        if entry is None:
            return 0.0
        if entry.task.done():
            return max(0.0, entry.expires - self._clock())
        # The longer it takes already, the longer it may still take.
        return max(SOON_SECONDS, self._clock() - entry.asked)

    async def _get(self, key: Hashable, load: Callable[[], Awaitable[T]], keep_seconds: float) -> T:
        entry = self._entries.get(key)
        if entry is None or (entry.task.done() and self._clock() >= entry.expires):
            self._forget_old()
            task = asyncio.ensure_future(self._load(key, load, keep_seconds))
            entry = self._entries[key] = _Entry(task, asked=self._clock(), failed_before=_failure(entry))
        elif entry.failed_before is not None and not entry.task.done():
            raise entry.failed_before.with_traceback(None)
        # The one who asked first may be cancelled; the others still want the answer.
        answer: T = await asyncio.shield(entry.task)
        return answer

    async def _load(self, key: Hashable, load: Callable[[], Awaitable[T]], keep_seconds: float) -> T:
        keep = KEEP_SECONDS
        try:
            answer = await load()
            keep = keep_seconds
            return answer
        finally:
            entry = self._entries[key]
            entry.expires = max(entry.asked + keep, self._clock() + min(keep, REST_SECONDS))

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
