"""What one step of a plan contributes; steps are put together with `then`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from modelgarden.api.conditions import FAILED, RUNNING, Problem
from modelgarden.controller.conditions import Finding
from modelgarden.controller.plan import Effect
from modelgarden.controller.times import timestamp
from modelgarden.kube.resources import Resource


@dataclass(frozen=True)
class Outcome:
    """Findings, wanted objects, changes of the status and the time of the next look."""

    findings: tuple[Finding, ...] = ()
    objects: tuple[dict[str, Any], ...] = ()
    deletes: tuple[tuple[Resource, str], ...] = ()
    effect: Effect | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of FineTuneJobStatus that change."""
    requeue_after: float | None = None
    done: bool = False
    """The step has come to its end, and the next one may begin."""

    def then(self, later: Outcome) -> Outcome:
        """Add a later step's contribution; of two findings of one condition the later stands."""
        waits = [one for one in (self.requeue_after, later.requeue_after) if one is not None]
        return Outcome(
            findings=self.findings + later.findings,
            objects=self.objects + later.objects,
            deletes=self.deletes + later.deletes,
            effect=self.effect or later.effect,
            fields={**self.fields, **later.fields},
            requeue_after=min(waits, default=None),
            done=later.done,
        )


def finding(kind: str, reason: str, message: str, **rest: Any) -> Outcome:
    """Return that a condition does not hold."""
    return Outcome(findings=(Finding(kind, False, reason, message),), **rest)


def failed(why: Problem, now: datetime) -> Outcome:
    """End the job as failed."""
    return Outcome(
        findings=(Finding.against(RUNNING, why), Finding(FAILED, True, why.reason, why.message)),
        fields={"completion_time": timestamp(now)},
    )
