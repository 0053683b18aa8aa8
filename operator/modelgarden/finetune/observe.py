"""One reconcile's I/O of a FineTuneJob: its Jobs and pods are looked at first, then each step looks at its own.

Nothing is written here but what a plan wants done in the registry. S3 is asked only where the answer decides something,
so that a thousand waiting or running jobs cost it nothing.
"""

from __future__ import annotations

from typing import Final

from modelgarden.api.names import FINETUNEJOB_LABEL, STEP_LABEL
from modelgarden.controller.plan import Effect
from modelgarden.finetune.look import Look
from modelgarden.finetune.manifests.jobs import job_name
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.programs import PREPARE, PUBLISH, TRAIN
from modelgarden.finetune.steps import STEPS, publish, register
from modelgarden.kube.resources import JOBS, PODS, controlled_by, controller_of
from modelgarden.workloads.endings import Program, ended
from modelgarden.workloads.jobs import JobState, job_state

_CONTROLLER_UID: Final = "batch.kubernetes.io/controller-uid"


class Session:
    """Observes and performs for one reconcile; the store is opened once, where something needs it."""

    def __init__(self, look: Look) -> None:
        self._look = look

    async def observe(self) -> Observation:
        """Return what is so now.

        Raises:
            Retryable: the API server does not answer.
        """
        if publish.awaits_publication(self._look.subject):
            return await publish.observe(self._look, Observation(publish=await self._job(PUBLISH)))
        if self._look.subject.finished:
            return Observation()
        prepare, train = await self._job(PREPARE), await self._job(TRAIN)
        seen = Observation(prepare=prepare, train=train, strays=self._strays(prepare, train))
        for step in STEPS:
            seen = await step.observe(self._look, seen)
        return seen

    async def perform(self, effect: Effect, seen: Observation) -> Observation:
        """Do what the plan wants done; return the observation with what came of it."""
        return await register.perform(self._look, effect, seen)

    async def _job(self, program: Program) -> JobState | None:
        subject, means = self._look.subject, self._look.means
        job = means.cache.get(JOBS, subject.namespace, job_name(subject.name, program))
        if job is None or not controlled_by(job, subject.uid):
            return None
        state = job_state(job, means.cache.children(PODS, job["metadata"]["uid"]), program)
        if state.result == "Active":
            return await means.refusals.noted(state, subject.namespace, means.clock())
        if state.ending is not None:
            return state
        # The Job's event overtook its pod's: how the pod ended is known to the API server already.
        selector = f"{_CONTROLLER_UID}={state.uid}"
        pods = await means.kube.list(PODS, namespace=subject.namespace, label_selector=selector)
        return job_state(job, pods, program)

    def _strays(self, *jobs: JobState | None) -> tuple[str, ...]:
        subject = self._look.subject
        current = {job.uid for job in jobs if job is not None}
        labelled = self._look.means.cache.labelled(PODS, subject.namespace, FINETUNEJOB_LABEL, subject.name)
        return tuple(
            pod["metadata"]["name"]
            for pod in labelled
            if STEP_LABEL in pod["metadata"].get("labels", {})
            and not ended(pod)
            and (controller_of(pod) or {}).get("uid") not in current
        )
