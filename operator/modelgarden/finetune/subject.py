"""The FineTuneJob that is reconciled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelgarden.api.artifact import RunIdentity
from modelgarden.api.conditions import COMPLETE, FAILED
from modelgarden.api.finetunejob import FineTuneJobSpec, FineTuneJobStatus
from modelgarden.api.layout import Location, run_uri
from modelgarden.api.names import QUEUE_LABEL
from modelgarden.controller import subject
from modelgarden.controller.subject import Identity


@dataclass(frozen=True)
class Subject(subject.Subject[FineTuneJobSpec, FineTuneJobStatus]):
    """One FineTuneJob."""

    @property
    def run(self) -> RunIdentity:
        """Return the identity of its run."""
        return RunIdentity(namespace=self.namespace, name=self.name, uid=self.uid)

    @property
    def folder(self) -> Location:
        """Return the run's folder in S3."""
        uri = run_uri(self.spec.output.uri, namespace=self.namespace, job=self.name, uid=self.uid)
        return Location.parse(uri)

    @property
    def has_base(self) -> bool:
        """Tell whether the base model is known: an earlier result has to be found first."""
        return self.spec.model.source is not None or self.status.parent is not None

    @property
    def base(self) -> str:
        """Return the URI of the base model.

        Raises:
            ValueError: it is an earlier result that is not found yet; nothing is created before.
        """
        if self.spec.model.source is not None:
            return self.spec.model.source
        if self.status.parent is None:
            raise ValueError("the earlier result that is trained on is not known yet")
        return self.status.parent.source

    @property
    def queued(self) -> bool:
        """A queue (Kueue) decides when the Jobs run, through their field suspend."""
        return QUEUE_LABEL in self.spec.pod_template.labels

    @property
    def finished(self) -> bool:
        """The job has completed or failed; nothing is created any more."""
        return self.is_true(COMPLETE) or self.is_true(FAILED)


def subject_of(owner: Mapping[str, Any]) -> Subject:
    """Read a FineTuneJob.

    Raises:
        pydantic.ValidationError: the spec does not fit this operator's schema.
    """
    return Subject(
        identity=Identity.of(owner),
        spec=FineTuneJobSpec.from_dict(owner["spec"]),
        status=status_of(owner),
    )


def status_of(owner: Mapping[str, Any]) -> FineTuneJobStatus:
    """Read the status. What another version wrote and this one cannot read is left out; it is observed anew."""
    return FineTuneJobStatus.readable(owner.get("status") or {})
