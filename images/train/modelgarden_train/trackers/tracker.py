"""What a tracker is, whichever product it speaks to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Tracker(Protocol):
    """One tracker of one attempt. It is called from a thread of its own and may raise anything."""

    @property
    def name(self) -> str:
        """The product, as people write it."""
        ...

    def start(self, hyperparameters: Mapping[str, str], *, from_step: int) -> None:
        """Begin, or go on with, the run; points after `from_step` that an earlier attempt left are void."""
        ...

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Note what was measured after a step."""
        ...

    def keep(self) -> None:
        """Bring what was noted so far to where people find it."""
        ...
