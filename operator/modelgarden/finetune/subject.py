"""The FineTuneJob that is reconciled: its identity, its parsed spec, and the status as it was last written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelgarden.api.artifact import RunIdentity
from modelgarden.api.conditions import COMPLETE, FAILED, Condition
from modelgarden.api.finetunejob import FineTuneJobSpec, FineTuneJobStatus

QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"


@dataclass(frozen=True)
class Subject:
    """One FineTuneJob."""

    run: RunIdentity
    generation: int
    spec: FineTuneJobSpec
    status: FineTuneJobStatus

    @property
    def queued(self) -> bool:
        """A queue (Kueue) decides when the Jobs run, through their field suspend."""
        return QUEUE_LABEL in self.spec.pod_template.labels

    @property
    def finished(self) -> bool:
        """The job has completed or failed; nothing is created any more."""
        return self.is_true(COMPLETE) or self.is_true(FAILED)

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of a type as last written."""
        return next((one for one in self.status.conditions if one.type == kind), None)

    def is_true(self, kind: str) -> bool:
        """Tell whether the condition of a type was True."""
        found = self.condition(kind)
        return found is not None and found.status == "True"


def subject_of(owner: Mapping[str, Any]) -> Subject:
    """Read a FineTuneJob.

    Raises:
        pydantic.ValidationError: the spec does not fit this operator's schema.
    """
    metadata = owner["metadata"]
    return Subject(
        run=RunIdentity(namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"]),
        generation=metadata.get("generation", 0),
        spec=FineTuneJobSpec.from_dict(owner["spec"]),
        status=status_of(owner),
    )


def status_of(owner: Mapping[str, Any]) -> FineTuneJobStatus:
    """Read the status. What another version wrote and this one cannot read is left out; it is observed anew."""
    return FineTuneJobStatus.readable(owner.get("status") or {})
