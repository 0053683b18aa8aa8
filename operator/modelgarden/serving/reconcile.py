"""Reconciles one ModelDeployment: load, parse, observe, plan, execute."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from modelgarden.api import conditions as c
from modelgarden.api import names
from modelgarden.api.modeldeployment import ModelDeploymentSpec, ModelDeploymentStatus
from modelgarden.api.pods import ServeReport
from modelgarden.controller.execute import execute
from modelgarden.controller.plan import Event, Plan
from modelgarden.controller.times import Clock, utc_now
from modelgarden.kube.cache import Cache
from modelgarden.kube.client import Kube
from modelgarden.kube.resources import DEPLOYMENTS, MODELDEPLOYMENTS, PODS, Key
from modelgarden.registry.sources import first_problem
from modelgarden.registry.store import Stores
from modelgarden.serving.observe import (
    Observed,
    by_revision,
    pods_since,
    read_reports,
    report_interval,
    revisions_of,
)
from modelgarden.serving.plan import plan
from modelgarden.serving.resolve import Resolver
from modelgarden.settings import Settings
from modelgarden.workloads.reports import PodReports


class ModelDeploymentReconciler:
    """Brings ModelDeployments nearer to what they want."""

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        stores: Stores,
        reports: PodReports,
        settings: Settings,
        clock: Clock = utc_now,
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._reports = reports
        self._settings = settings
        self._clock = clock
        self._resolver = Resolver(kube, cache, stores)
        self._asked: dict[Key, float] = {}
        """When the pods of each were last asked for their energy, on the monotonic clock."""

    async def reconcile(self, key: Key) -> float | None:
        """Bring one ModelDeployment nearer to what it wants; return seconds until the next look.

        Raises:
            OperatorError: the API server does not answer, or refuses a write.
        """
        owner = self._cache.get(MODELDEPLOYMENTS, key.namespace, key.name) or await self._kube.get(
            MODELDEPLOYMENTS, key.namespace, key.name
        )
        if owner is None or "deletionTimestamp" in owner["metadata"]:
            self._asked.pop(key, None)
            return None
        try:
            spec = ModelDeploymentSpec.from_dict(owner["spec"])
        except ValidationError as error:
            decided = _invalid(owner, first_problem(error, root="spec"), self._clock())
        else:
            decided = plan(await self._observe(key, owner, spec), self._settings)
        await execute(self._kube, self._cache, owner, decided, clock=self._clock)
        return decided.requeue_after

    async def _observe(self, key: Key, owner: Mapping[str, Any], spec: ModelDeploymentSpec) -> Observed:
        uid = owner["metadata"]["uid"]
        deployments = by_revision(self._cache.children(DEPLOYMENTS, uid))
        labelled = self._cache.labelled(PODS, key.namespace, names.MODELDEPLOYMENT_LABEL, key.name)
        pods = pods_since(owner["metadata"]["creationTimestamp"], labelled)
        status = _status(owner)
        return Observed(
            owner=owner,
            spec=spec,
            status=status,
            resolution=await self._resolver.resolve(key.namespace, spec, status.artifact),
            deployments=deployments,
            revisions=revisions_of(deployments, pods),
            pods=pods,
            reports=await self._read_reports(key, pods),
            now=self._clock(),
        )

    async def _read_reports(
        self, key: Key, pods: Sequence[Mapping[str, Any]]
    ) -> tuple[ServeReport, ...] | None:
        now = time.monotonic()
        interval = report_interval(pods)
        if now - self._asked.get(key, -interval) < interval - 1:
            return None
        self._asked[key] = now
        return await read_reports(self._reports, pods)


def _status(owner: Mapping[str, Any]) -> ModelDeploymentStatus:
    return ModelDeploymentStatus.readable(owner.get("status") or {})


def _invalid(owner: Mapping[str, Any], problem: str, now: datetime) -> Plan:
    """Return the plan for a spec that this operator cannot read: say so, and leave what runs as it is."""
    generation = int(owner["metadata"].get("generation", 0))
    message = f"{problem}. Correct the field."
    refused = c.Condition(
        type=c.ACCEPTED,
        status="False",
        reason="InvalidSpec",
        message=message,
        observed_generation=generation,
        last_transition_time=now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    previous = _status(owner)
    others = tuple(one for one in previous.conditions if one.type != c.ACCEPTED)
    status = previous.model_copy(
        update={
            "phase": "Blocked",
            "conditions": (*c.settled((refused,), previous.conditions), *others),
            "observed_generation": generation,
        }
    )
    return Plan(status=status.to_dict(), event=Event("Warning", "InvalidSpec", message))
