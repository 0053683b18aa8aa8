"""What a FineTuneJob's plan wants done in the registry; `steps.register` does it."""

from __future__ import annotations

from dataclasses import dataclass

from modelgarden.controller.plan import Effect


@dataclass(frozen=True)
class AllocateVersion(Effect):
    """Give the run's artifact the next version of its model."""


@dataclass(frozen=True)
class MoveAlias(Effect):
    """Point an alias of the model at the run's version."""

    alias: str
