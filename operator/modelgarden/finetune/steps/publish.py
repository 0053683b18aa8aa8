"""After the last step: a Job brings the registered artifact to the hub, where the spec names one.

The FineTuneJob is Complete before, and what is registered is served and trained on whatever the hub does. So nothing here
ends as failed: what the hub, or whoever owns the token, has to mend is told, and tried again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from modelgarden.api.conditions import ACCEPTED, COMPLETE, PUBLISHED, REASONS, Problem
from modelgarden.api.finetunejob import ArtifactStatus, Hub, HubStatus
from modelgarden.api.messages import sentence
from modelgarden.controller.conditions import Finding
from modelgarden.controller.times import moment_or_none
from modelgarden.controller.waiting import RECHECK_SECONDS, SOON_SECONDS, patience, recheck
from modelgarden.finetune.look import Look
from modelgarden.finetune.manifests.publish import publish_job
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.outcome import Outcome, finding
from modelgarden.finetune.programs import PUBLISH
from modelgarden.finetune.secrets import hub_token, secret_versions
from modelgarden.finetune.steps.step import FineTuneView
from modelgarden.finetune.subject import Subject
from modelgarden.finetune.waiting import waiting_for
from modelgarden.kube.resources import JOBS
from modelgarden.workloads.jobs import JobState

ASK_SECONDS: Final = 10.0
"""How often a running pod is asked what it waits for."""
FIRST_RETRY_SECONDS: Final = 300.0
LONGEST_RETRY_SECONDS: Final = 3600.0
"""Wait before a refused artifact is offered again: half as long as it is complete, within these bounds."""
_AT_ONCE: Final = 0.0
_ONLY_WITH_ANOTHER_IMAGE: Final = "UpgradeNeeded"
CALM_REASONS: Final = frozenset({"Publishing", "Queued", "Suspended"})
"""Of a condition Published that is False though nothing is wrong."""


def awaits_publication(subject: Subject) -> bool:
    """Tell whether there is something left to do after the end."""
    spec = subject.spec
    wanted = spec.output.hub is not None and not spec.dry_run
    return wanted and subject.is_true(COMPLETE) and not subject.is_true(PUBLISHED)


async def observe(look: Look, seen: Observation) -> Observation:
    """Look at the secrets, where a Job may be started with them, and ask the running pod what it waits for."""
    if not awaits_publication(look.subject):
        return seen
    job = seen.publish
    pod = job.newest.leader if job is not None and job.newest is not None else None
    if pod is not None and pod.running:
        return replace(seen, publish_report=await look.progress.newest(pod, interval_seconds=ASK_SECONDS))
    if pod is not None:
        look.progress.forget(pod)
    if job is not None and job.result != "Failed":
        return seen
    return replace(seen, publish_inputs=await _secrets(look))


def plan(view: FineTuneView) -> Outcome:
    """Bring the artifact nearer to the hub."""
    subject, job = view.subject, view.seen.publish
    hub, artifact = subject.spec.output.hub, subject.status.artifact
    if hub is None or subject.is_true(PUBLISHED):
        return Outcome(done=True)
    if (
        artifact is None or not subject.finished
    ):  # registered just now: what is published is in the status then
        message = f"The artifact is registered and goes to {hub.repository} next."
        return _not_published("Publishing", message, requeue_after=_AT_ONCE)
    told = _accepted(subject)
    if subject.spec.suspend:
        return told.then(_suspended(job))
    if job is None:
        return told.then(_start(view, hub, artifact))
    match job.result:
        case "Complete":
            return told.then(_published(job, hub, artifact))
        case "Failed":
            return told.then(_refused(view, job))
        case _:
            return told.then(_under_way(view, job, hub, artifact))


async def _secrets(look: Look) -> str | Problem:
    """Return a digest over the versions of the secrets that the pod is given, or what is wrong with one of them."""
    subject, hub = look.subject, look.subject.spec.output.hub
    token = (hub_token(hub.token_secret_ref.name),) if hub is not None else ()
    versions = await secret_versions(look, (*token, *subject.spec.storage.secrets))
    return versions if isinstance(versions, Problem) else _digest(versions)


def _digest(versions: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(versions).encode()).hexdigest()


def _accepted(subject: Subject) -> Outcome:
    """Take back that the API server refused the Job: it is asked again with this plan."""
    before = subject.condition(ACCEPTED)
    if before is None or before.status == "True":
        return Outcome()
    message = "The spec is valid and what it refers to exists."
    return Outcome(findings=(Finding(ACCEPTED, True, "Accepted", message),))


def _suspended(job: JobState | None) -> Outcome:
    """End the pod: what it has uploaded stays on the hub, and the next one goes on from there."""
    message = "spec.suspend is true: the artifact is published when it is false."
    deletes = ((JOBS, job.name),) if job is not None and not job.being_deleted else ()
    return _not_published("Suspended", message, deletes=deletes)


def _start(view: FineTuneView, hub: Hub, artifact: ArtifactStatus) -> Outcome:
    inputs = view.seen.publish_inputs
    if isinstance(inputs, Problem):
        message = f"{sentence(inputs.message)} The artifact is published by itself once this is mended."
        return _not_published(inputs.reason, message, requeue_after=recheck(inputs))
    if inputs is None:
        return _not_published("Publishing", _publishing(hub, artifact), requeue_after=SOON_SECONDS)
    job = publish_job(view.subject, view.settings, artifact, inputs_hash=inputs)
    return _not_published("Publishing", _publishing(hub, artifact), objects=(job,))


def _published(job: JobState, hub: Hub, artifact: ArtifactStatus) -> Outcome:
    said = job.ending.said if job.ending is not None else None
    found = said.hub if said is not None and said.hub is not None else HubStatus(url=hub.url)
    at = f" at commit {found.commit}" if found.commit else ""
    message = f"{_named(artifact)} is at {found.url}{at}."
    return Outcome(
        findings=(Finding(PUBLISHED, True, "Published", message),), fields={"hub": found}, done=True
    )


def _refused(view: FineTuneView, job: JobState) -> Outcome:
    why, inputs = job.problem(PUBLISH), view.seen.publish_inputs
    if isinstance(inputs, Problem):
        message = f"{sentence(inputs.message)} The artifact is published by itself once this is mended."
        return _not_published(inputs.reason, message, requeue_after=recheck(inputs))
    wait = _retry_seconds(view)
    if _may_be_mended(view, job, why, wait):
        message = f"The publish Job starts again. The last one ended: {sentence(why.message)}"
        return _not_published("Publishing", message, deletes=((JOBS, job.name),), requeue_after=SOON_SECONDS)
    message = f"{sentence(why.message)} {_hope(why, wait)}"
    return _not_published(why.reason, message, requeue_after=RECHECK_SECONDS)


def _retry_seconds(view: FineTuneView) -> float:
    since = moment_or_none(view.subject.status.completion_time)
    return patience(since, view.now, shortest=FIRST_RETRY_SECONDS, longest=LONGEST_RETRY_SECONDS)


def _may_be_mended(view: FineTuneView, job: JobState, why: Problem, wait: float) -> bool:
    if view.seen.publish_inputs is None or job.being_deleted:
        return False
    if view.seen.publish_inputs != job.inputs_hash or job.image != view.settings.train_image:
        return True
    if why.reason == _ONLY_WITH_ANOTHER_IMAGE:
        return False
    return job.finished_at is not None and (view.now - job.finished_at).total_seconds() >= wait


def _hope(why: Problem, wait: float) -> str:
    if why.reason == _ONLY_WITH_ANOTHER_IMAGE:
        return "It is tried again by itself with another image."
    return f"It is tried again when a secret changes, and after {round(wait / 60)} minutes. The artifact is registered."


def _under_way(view: FineTuneView, job: JobState, hub: Hub, artifact: ArtifactStatus) -> Outcome:
    report = view.seen.publish_report
    if job.newest is not None and job.newest.running:
        if report is not None and report.outage is not None:
            message = f"Job {job.name} waits and tries again: {sentence(report.outage)}"
            return _not_published("StorageUnavailable", message, requeue_after=ASK_SECONDS)
        return _after_an_attempt(job, _publishing(hub, artifact), requeue_after=ASK_SECONDS)
    waiting = waiting_for(job, view.now)
    if waiting.problem.reason != "Pending":
        return _not_published(
            waiting.problem.reason, waiting.problem.message, requeue_after=waiting.requeue_after
        )
    return _after_an_attempt(job, waiting.problem.message, requeue_after=waiting.requeue_after)


def _after_an_attempt(job: JobState, message: str, *, requeue_after: float | None) -> Outcome:
    """Tell how the last attempt failed, for as long as the next one has not ended either."""
    ending = job.ending
    if ending is None or not ending.failed:
        return _not_published("Publishing", message, requeue_after=requeue_after)
    reason = ending.reason if ending.reason in REASONS else "Retrying"
    again = f"{sentence(ending.message)} The publish Job tries again."
    return _not_published(reason, again, requeue_after=requeue_after)


def _publishing(hub: Hub, artifact: ArtifactStatus) -> str:
    return f"{_named(artifact)} is registered and is brought to {hub.url}."


def _named(artifact: ArtifactStatus) -> str:
    return f"{artifact.model_name} version {artifact.version}"


def _not_published(reason: str, message: str, **rest: Any) -> Outcome:
    return finding(PUBLISHED, reason, message, **rest)
