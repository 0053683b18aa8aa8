"""The contract of a step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from modelgarden.finetune.look import Look
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.outcome import Outcome
from modelgarden.finetune.subject import Subject
from modelgarden.settings import Settings


@dataclass(frozen=True)
class View:
    """All that a step's plan is made from."""

    subject: Subject
    seen: Observation
    settings: Settings
    now: datetime


@dataclass(frozen=True)
class Step:
    """One step: what it looks at (I/O), and what it contributes to the plan (pure).

    The next step's plan is made only where this one's outcome is done.
    """

    observe: Callable[[Look, Observation], Awaitable[Observation]]
    """Adds to the observation what this step's plan is made from; the Jobs are known.

    Raises:
        Retryable: the API server does not answer.
    """
    plan: Callable[[View], Outcome]
