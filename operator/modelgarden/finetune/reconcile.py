"""One reconcile of a FineTuneJob: load, parse, observe, register what has ended, decide, carry out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from modelgarden.api.finetunejob import IMMUTABLE_FIELDS
from modelgarden.controller.plan import Plan, execute
from modelgarden.finetune.manifests import job_name
from modelgarden.finetune.observe import Observation, Observer, ProgressReports, StorageAccess
from modelgarden.finetune.plan import decide, invalid
from modelgarden.finetune.subject import Subject, status_of, subject_of
from modelgarden.finetune.training import awaits_registration
from modelgarden.kube.cache import Cache
from modelgarden.kube.client import Kube
from modelgarden.kube.resources import FINETUNEJOBS, JOBS, Key
from modelgarden.registry.errors import StorageError
from modelgarden.registry.inputs import Inputs
from modelgarden.registry.sources import first_problem
from modelgarden.registry.store import Stores
from modelgarden.registry.versions import Candidate, Registration, has_manifest, register
from modelgarden.settings import Settings
from modelgarden.workloads.jobs import TRAIN, Problem, job_state
from modelgarden.workloads.refusals import PodRefusals
from modelgarden.workloads.reports import PodReports


class FineTuneReconciler:
    """Reconciles FineTuneJobs."""

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        stores: Stores,
        reports: PodReports,
        settings: Settings,
        clock: Callable[[], datetime],
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._settings = settings
        self._clock = clock
        self._storage = StorageAccess(kube, stores)
        progress = ProgressReports(reports, interval_seconds=settings.progress_interval_seconds, clock=clock)
        refusals = PodRefusals(kube, clock)
        self._observer = Observer(kube, cache, self._storage, Inputs(), progress, refusals)

    async def reconcile(self, key: Key) -> float | None:
        """Bring a FineTuneJob nearer to its end; return seconds until the next look, if one is due.

        Raises:
            Retryable: the API server does not answer, or refused a child.
        """
        owner = self._cache.get(FINETUNEJOBS, key.namespace, key.name)
        if owner is None or "deletionTimestamp" in owner["metadata"]:
            return None
        plan = await self._plan(owner)
        await execute(self._kube, self._cache, owner, plan, clock=self._clock)
        return plan.requeue_after

    async def _plan(self, owner: Mapping[str, Any]) -> Plan:
        try:
            subject = subject_of(owner)
        except ValidationError as error:
            message = f"{first_problem(error, root='spec')}. {_remedy(error)}"
            generation = owner["metadata"].get("generation", 0)
            return invalid(status_of(owner), generation=generation, message=message, now=self._clock())
        seen = await self._observer.observe(subject)
        if awaits_registration(subject, seen):
            seen = await self._registered(subject, seen)
        return decide(subject, seen, self._settings, self._clock())

    async def _registered(self, subject: Subject, seen: Observation) -> Observation:
        """Register the artifact of a training that the API server itself says has ended well.

        Where somebody deleted the train Job, its artifact may be complete all the same: then it is registered too,
        before a GPU is taken to make it again.
        """
        if seen.train is not None:
            name = job_name(subject.run.name, TRAIN)
            live = await self._kube.get(JOBS, subject.run.namespace, name)
            if live is None or live["metadata"]["uid"] != seen.train.uid:
                seen = replace(seen, train=None)
            elif job_state(live, (), step=TRAIN).outcome != "Complete":
                return seen
        return replace(seen, registration=await self._register(subject, required=seen.train is not None))

    async def _register(self, subject: Subject, *, required: bool) -> Registration | Problem | None:
        store = await self._storage.open(subject)
        if isinstance(store, Problem):
            return store
        output = subject.spec.output
        candidate = Candidate(run=subject.run, output_uri=output.uri, model_name=output.model_name)
        try:
            if not required and not await has_manifest(store, candidate):
                return None
            return await register(store, candidate, now=self._clock())
        except StorageError as error:
            return Problem(error.reason, error.message)


def _remedy(error: ValidationError) -> str:
    """Return what to do about the first problem of a spec."""
    where = error.errors(include_input=False, include_url=False)[0]["loc"]
    if where and where[0] not in IMMUTABLE_FIELDS:
        return "Correct the field."
    return "This cannot be changed in place; create a new FineTuneJob."
