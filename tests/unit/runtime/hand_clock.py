"""A clock that a test moves, in place of sleeping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from modelgarden.runtime.queue import WorkQueue


@dataclass(eq=False)
class Timer:
    due: float
    action: Callable[[], Any]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Time:
    """The time, and what is to happen at a later one."""

    now: float = 0.0
    timers: list[Timer] = field(default_factory=list)

    def call_later(self, seconds: float, action: Callable[[], Any]) -> Timer:
        timer = Timer(self.now + seconds, action)
        self.timers.append(timer)
        return timer

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        for timer in sorted(self.timers, key=lambda timer: timer.due):
            if timer.due <= self.now and not timer.cancelled:
                timer.cancelled = True
                timer.action()

    def queue(self) -> WorkQueue:
        """Return a queue that lives in this time."""
        return WorkQueue(clock=lambda: self.now, call_later=self.call_later, jitter=lambda: 1.0)
