"""One reconcile, the same for every kind: load, parse, observe (I/O), plan (pure), carry out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Generic, Protocol, TypeVar

from pydantic import ValidationError

from modelgarden.controller.execute import execute
from modelgarden.controller.identity import fields
from modelgarden.controller.means import Means
from modelgarden.controller.plan import Effect, Plan
from modelgarden.controller.view import View
from modelgarden.kube.errors import Retryable
from modelgarden.kube.resources import Key, Resource

log = logging.getLogger(__name__)

MOST_EFFECTS: Final = 8
"""Effects of one reconcile; a plan that wants more would go on for ever."""

Seen = TypeVar("Seen")
Subject = TypeVar("Subject")


class Session(Protocol[Seen]):
    """One reconcile's I/O: everything that it reads and does outside of `execute`."""

    async def observe(self) -> Seen:
        """Return what is so now.

        Raises:
            Retryable: the API server does not answer.
        """
        ...

    async def perform(self, effect: Effect, seen: Seen) -> Seen:
        """Do what a plan wants done; return the observation with what came of it.

        Raises:
            Retryable: the API server does not answer.
        """
        ...


class Kind(Protocol[Subject, Seen]):
    """What one kind adds to the reconcile."""

    @property
    def resource(self) -> Resource:
        """Return the resource of its objects."""
        ...

    def subject(self, owner: Mapping[str, Any]) -> Subject:
        """Read an object.

        Raises:
            pydantic.ValidationError: the spec does not fit this operator's schema.
        """
        ...

    def session(self, subject: Subject) -> Session[Seen]:
        """Return the I/O of one reconcile."""
        ...

    def plan(self, view: View[Subject, Seen]) -> Plan:
        """Return what to do now. Pure."""
        ...

    def unreadable(self, owner: Mapping[str, Any], error: ValidationError, now: datetime) -> Plan:
        """Return the plan for a spec that this operator cannot read: say so, change nothing. Pure."""
        ...

    def forget(self, key: Key) -> None:
        """Drop what is kept of an object that is gone."""
        ...


class KindReconciler(Generic[Subject, Seen]):
    """Reconciles the objects of one kind."""

    def __init__(self, kind: Kind[Subject, Seen], means: Means) -> None:
        self._kind = kind
        self._means = means

    async def reconcile(self, key: Key) -> float | None:
        """Bring one object nearer to what it wants; return seconds until the next look, if one is due.

        Raises:
            OperatorError: the API server does not answer, or refuses a write.
        """
        owner = self._means.cache.get(self._kind.resource, key.namespace, key.name)
        if owner is None or "deletionTimestamp" in owner["metadata"]:
            self._kind.forget(key)
            return None
        plan = await self._plan(owner)
        await execute(self._means.kube, self._means.cache, owner, plan, clock=self._means.clock)
        return plan.requeue_after

    async def _plan(self, owner: Mapping[str, Any]) -> Plan:
        try:
            subject = self._kind.subject(owner)
        except ValidationError as error:
            return self._kind.unreadable(owner, error, self._means.clock())
        session = self._kind.session(subject)
        seen = await session.observe()
        for _ in range(MOST_EFFECTS):
            plan = self._kind.plan(View(subject, seen, self._means.settings, self._means.clock()))
            if log.isEnabledFor(logging.DEBUG):
                log.debug("Plan: %s", plan.summary, extra=fields(owner))
            if plan.effect is None:
                return plan
            seen = await session.perform(plan.effect, seen)
        raise Retryable("A plan's effects do not come to an end.")
