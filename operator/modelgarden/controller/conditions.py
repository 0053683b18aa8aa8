"""From findings to conditions with their history. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from modelgarden.api.conditions import Condition, Problem, settled
from modelgarden.api.messages import clean
from modelgarden.controller.times import timestamp


@dataclass(frozen=True)
class Finding:
    """What is found of one condition."""

    type: str
    holds: bool
    reason: str
    message: str

    @classmethod
    def against(cls, kind: str, problem: Problem) -> Finding:
        """Return that the condition does not hold because of the problem."""
        return cls(kind, False, problem.reason, problem.message)


def conditions(
    previous: Iterable[Condition],
    findings: Iterable[Finding],
    *,
    order: Sequence[str],
    generation: int,
    now: datetime,
    message_bytes: int = 1024,
) -> tuple[Condition, ...]:
    """Return the conditions: those found anew, of two the later one, and the others as they were, in the order given.

    A condition's lastTransitionTime moves only when its status flips.
    """
    before = {one.type: one for one in previous}
    kept = {kind: one.model_copy(update={"observed_generation": generation}) for kind, one in before.items()}
    found = {
        one.type: Condition(
            type=one.type,
            status="True" if one.holds else "False",
            reason=one.reason,
            message=clean(one.message, length=message_bytes),
            observed_generation=generation,
            last_transition_time=timestamp(now),
        )
        for one in findings
    }
    known = {**kept, **found}
    return settled((known[kind] for kind in order if kind in known), before.values())
