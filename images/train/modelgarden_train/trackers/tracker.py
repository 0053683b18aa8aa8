"""What a tracker is, whichever product it speaks to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

Ended = Literal["Completed", "Terminated", "Failed"]
"""How an attempt ended: the run is done, another attempt goes on with it, or it came to nothing."""


class Tracker(Protocol):
    """One tracker of one attempt, called from a thread of its own.

    It may raise anything: a TemporaryError leaves it in use, and what it could not do is done by the next `keep`; after
    any other error it is let be.
    """

    @property
    def name(self) -> str:
        """The product, as people write it."""
        ...

    @property
    def url(self) -> str | None:
        """Where people find the run; None while that is not known."""
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

    def finish(self, ended: Ended) -> None:
        """Bring everything to where people find it; no more will come."""
        ...
