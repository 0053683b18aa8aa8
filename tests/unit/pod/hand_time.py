"""Time that passes only where the code under test waits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modelgarden_pod.retry import Patience


@dataclass
class HandTime:
    """The time in seconds, and how long was waited each time."""

    now: float = 0.0
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)

    def patience(self, **limits: Any) -> Patience:
        """Return patience that lives in this time."""
        return Patience(clock=lambda: self.now, sleep=self.sleep, **limits)
