"""FineTuneJob as a kind that `controller.reconcile` takes to its end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from modelgarden.api.finetunejob import IMMUTABLE_FIELDS
from modelgarden.controller.means import Means
from modelgarden.controller.plan import Plan
from modelgarden.controller.storage import OpenStore
from modelgarden.finetune.look import Look
from modelgarden.finetune.observe import Session
from modelgarden.finetune.parents import Parents
from modelgarden.finetune.plan import plan, unreadable
from modelgarden.finetune.progress import ProgressReports
from modelgarden.finetune.steps.step import FineTuneView
from modelgarden.finetune.subject import Subject, status_of, subject_of
from modelgarden.kube.resources import FINETUNEJOBS, Key, Resource
from modelgarden.registry.inputs import Inputs
from modelgarden.registry.sources import first_problem


class FineTuneJobKind:
    """What a FineTuneJob adds to the reconcile."""

    resource: Resource = FINETUNEJOBS

    def __init__(self, means: Means) -> None:
        self._means = means
        self._inputs = Inputs()
        self._parents = Parents()
        self._progress = ProgressReports(means.reports, clock=means.clock)

    def subject(self, owner: Mapping[str, Any]) -> Subject:
        """Read a FineTuneJob."""
        return subject_of(owner)

    def session(self, subject: Subject) -> Session:
        """Return the I/O of one reconcile."""
        store = OpenStore(self._means.storage, subject.namespace, subject.spec.storage)
        return Session(Look(subject, self._means, store, self._inputs, self._parents, self._progress))

    def plan(self, view: FineTuneView) -> Plan:
        """Return what to do now."""
        return plan(view)

    def unreadable(self, owner: Mapping[str, Any], error: ValidationError, now: datetime) -> Plan:
        """Return the plan for a spec that this operator cannot read."""
        message = f"{first_problem(error, root='spec')}. {_remedy(error)}"
        generation = owner["metadata"].get("generation", 0)
        return unreadable(status_of(owner), generation=generation, message=message, now=now)

    def forget(self, key: Key) -> None:
        """Nothing is kept by key."""


def _remedy(error: ValidationError) -> str:
    """Return what to do about the first problem of a spec."""
    where = error.errors(include_input=False, include_url=False)[0]["loc"]
    if where and where[0] not in IMMUTABLE_FIELDS:
        return "Correct the field."
    return "This cannot be changed in place; create a new FineTuneJob."
