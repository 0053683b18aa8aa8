"""One reconcile's I/O of a ModelDeployment: the model's source, the children, the pods' reports. Nothing is written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from modelgarden.api import names
from modelgarden.api.pods import ServeReport
from modelgarden.controller.means import Means
from modelgarden.controller.plan import Effect
from modelgarden.controller.storage import OpenStore
from modelgarden.kube.resources import DEPLOYMENTS, MODELDEPLOYMENTS, PODS, Key, controlled_by
from modelgarden.serving.engines import Engines
from modelgarden.serving.manifests import deployment_name
from modelgarden.serving.observation import (
    Observation,
    PodsSaid,
    by_revision,
    pods_since,
    report_interval,
    revisions_of,
)
from modelgarden.serving.resolve import Resolver
from modelgarden.serving.subject import Subject
from modelgarden.workloads.reports import PodReports


class Session:
    """Observes for one reconcile; the store is opened once, where something needs it."""

    def __init__(
        self, subject: Subject, means: Means, resolver: Resolver, engines: Engines, asked: dict[Key, float]
    ) -> None:
        self._subject = subject
        self._means = means
        self._resolver = resolver
        self._engines = engines
        self._key = Key(MODELDEPLOYMENTS, subject.namespace, subject.name)
        self._asked = asked
        self._store = OpenStore(means.storage, subject.namespace, subject.spec.storage)

    async def observe(self) -> Observation:
        """Return what is so now.

        Raises:
            Retryable: the API server does not answer.
        """
        subject, cache = self._subject, self._means.cache
        deployments = await self._deployments()
        labelled = cache.labelled(PODS, subject.namespace, names.MODELDEPLOYMENT_LABEL, subject.name)
        pods = pods_since(subject.identity.created, labelled)
        said = PodsSaid(
            stuck=await self._means.refusals.stuck(pods, subject.namespace, self._means.clock()),
            engines=await self._engines.told(self._key, pods),
        )
        return Observation(
            resolution=await self._resolver.resolve(subject, self._store),
            deployments=deployments,
            revisions=revisions_of(deployments, pods, said),
            pods=pods,
            reports=await self._reports(pods),
        )

    async def perform(self, effect: Effect, seen: Observation) -> Observation:
        """Raise TypeError: no plan of a ModelDeployment has an effect."""
        raise TypeError(f"A ModelDeployment has no effect {effect}")

    async def _deployments(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the live Deployments by revision, those too that lost the label by which they are watched."""
        subject = self._subject
        known = by_revision(self._means.cache.children(DEPLOYMENTS, subject.uid))
        missed = [one.name for one in subject.status.revisions if one.name not in known]
        found = [
            await self._means.kube.get(
                DEPLOYMENTS, subject.namespace, deployment_name(subject.name, revision)
            )
            for revision in missed
        ]
        own = [one for one in found if one is not None and controlled_by(one, subject.uid)]
        return {**known, **by_revision(own)}

    async def _reports(self, pods: Sequence[Mapping[str, Any]]) -> tuple[ServeReport, ...] | None:
        now, interval = time.monotonic(), report_interval(pods)
        if now - self._asked.get(self._key, -interval) < interval - 1:
            return None
        self._asked[self._key] = now
        return await read_reports(self._means.reports, pods)


async def read_reports(reports: PodReports, pods: Sequence[Mapping[str, Any]]) -> tuple[ServeReport, ...]:
    """Ask the running pods, those that are draining included, for their energy and tokens."""
    asked = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
    answers = await asyncio.gather(*(reports.of(pod, "/carbon", ServeReport) for pod in asked))
    return tuple(answer for answer in answers if answer is not None)
