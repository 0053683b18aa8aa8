"""The contract of a step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from modelgarden.controller.view import View
from modelgarden.finetune.look import Look
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.outcome import Outcome
from modelgarden.finetune.subject import Subject

FineTuneView = View[Subject, Observation]


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
    plan: Callable[[FineTuneView], Outcome]
