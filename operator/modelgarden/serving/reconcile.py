"""ModelDeployment as a kind that `controller.reconcile` takes to what it wants."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from modelgarden.controller.means import Means
from modelgarden.controller.plan import Plan
from modelgarden.kube.resources import MODELDEPLOYMENTS, Key, Resource
from modelgarden.registry.sources import first_problem
from modelgarden.serving.decision import ServingView
from modelgarden.serving.engines import Engines
from modelgarden.serving.observe import Session
from modelgarden.serving.plan import plan, unreadable
from modelgarden.serving.resolve import Resolver
from modelgarden.serving.subject import Subject, status_of, subject_of


class ModelDeploymentKind:
    """What a ModelDeployment adds to the reconcile."""

    resource: Resource = MODELDEPLOYMENTS

    def __init__(self, means: Means) -> None:
        self._means = means
        self._resolver = Resolver(means.kube, means.cache)
        self._engines = Engines(means.reports)
        self._asked: dict[Key, float] = {}
        """When the pods of each were last asked for their energy, on the monotonic clock."""

    def subject(self, owner: Mapping[str, Any]) -> Subject:
        """Read a ModelDeployment."""
        return subject_of(owner)

    def session(self, subject: Subject) -> Session:
        """Return the I/O of one reconcile."""
        return Session(subject, self._means, self._resolver, self._engines, self._asked)

    def plan(self, view: ServingView) -> Plan:
        """Return what to do now."""
        return plan(view)

    def unreadable(self, owner: Mapping[str, Any], error: ValidationError, now: datetime) -> Plan:
        """Return the plan for a spec that this operator cannot read."""
        message = f"{first_problem(error, root='spec')}. Correct the field."
        generation = int(owner["metadata"].get("generation", 0))
        return unreadable(status_of(owner), generation=generation, message=message, now=now)

    def forget(self, key: Key) -> None:
        """Drop when the pods were last asked, and what they said."""
        self._engines.forget(key)
        self._asked.pop(key, None)
