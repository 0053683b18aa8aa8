"""What one stage of a plan contributes; stages are put together with `then`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelgarden.finetune.status import Finding
from modelgarden.kube.resources import Resource


@dataclass(frozen=True)
class Outcome:
    """Findings, wanted objects, changes of the status and the time of the next look."""

    findings: tuple[Finding, ...] = ()
    objects: tuple[dict[str, Any], ...] = ()
    deletes: tuple[tuple[Resource, str], ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of FineTuneJobStatus that change."""
    requeue_after: float | None = None

    def then(self, later: Outcome) -> Outcome:
        """Add a later stage's contribution; of two findings of one condition the later stands."""
        waits = [one for one in (self.requeue_after, later.requeue_after) if one is not None]
        return Outcome(
            findings=self.findings + later.findings,
            objects=self.objects + later.objects,
            deletes=self.deletes + later.deletes,
            fields={**self.fields, **later.fields},
            requeue_after=min(waits, default=None),
        )
