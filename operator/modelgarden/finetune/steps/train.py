"""The third step: a Job trains on the prepared dataset, evaluates, and leaves the artifact in S3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from modelgarden.api.conditions import ARTIFACT_REGISTERED, RUNNING, Problem
from modelgarden.api.emissions import EmissionsRecord, ended_record
from modelgarden.api.finetunejob import AttemptStatus
from modelgarden.api.messages import sentence
from modelgarden.api.pods import TrainReport
from modelgarden.controller.conditions import Finding
from modelgarden.controller.waiting import SOON_SECONDS, STORAGE_SECONDS
from modelgarden.finetune.attempts import attempts_after, with_checkpoint, with_unseen
from modelgarden.finetune.classes import Counts, class_of, interruptions_in_vain
from modelgarden.finetune.emissions import final, read_attempts
from modelgarden.finetune.look import Look
from modelgarden.finetune.manifests.train import train_objects, train_service
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.outcome import Outcome, failed, finding
from modelgarden.finetune.programs import TRAIN
from modelgarden.finetune.reported import reported
from modelgarden.finetune.restart import again, counts_as, goes_on
from modelgarden.finetune.steps.step import FineTuneView
from modelgarden.finetune.subject import Subject
from modelgarden.finetune.waiting import PARTLY_SECONDS, partly_started, waiting_for
from modelgarden.kube.resources import JOBS
from modelgarden.registry.errors import StorageError
from modelgarden.settings import Settings
from modelgarden.workloads.groups import PodGroup
from modelgarden.workloads.jobs import JobState
from modelgarden.workloads.pods import PodState


async def observe(look: Look, seen: Observation) -> Observation:
    """Ask the running pod how far it is; of a training that failed read what its attempts left in S3."""
    job = seen.train
    if job is None:
        return seen
    report = await _report(look, job)
    emissions = await _emissions(look) if job.result == "Failed" else None
    return replace(seen, report=report, emissions=emissions)


def plan(view: FineTuneView) -> Outcome:
    """Bring the training nearer to its end, once the dataset is ready."""
    subject, seen, job = view.subject, view.seen, view.seen.train
    groups = job.attempts if job is not None else ()
    attempts = _attempts(view, groups)
    told = Outcome(fields={"attempts": attempts})
    if job is None:
        return told.then(_without_a_job(view))
    told = told.then(Outcome(fields=reported(subject, job, seen.report)))
    match job.result:
        case "Complete":
            return told.then(Outcome(done=True))
        case "Active" | "Failed" if job.newest is not None and job.newest.unsettled:
            return told.then(_unsettled(view, job.newest)).then(_no_artifact(subject))
        case "Failed" if subject.spec.resources.nodes > 1 and goes_on(subject, job, attempts):
            return told.then(again(view, job, attempts)).then(_no_artifact(subject))
        case "Failed":
            spent = Outcome(fields={"carbon": final(subject.status.carbon, seen.emissions)})
            return told.then(spent).then(failed(_why(subject, job, attempts), view.now))
        case _ if interruptions_in_vain(attempts) >= subject.spec.interruption_limit:
            used = {"carbon": subject.status.carbon and ended_record(subject.status.carbon, reason="Failed")}
            ended = Outcome(deletes=((JOBS, job.name),), fields=used)
            return told.then(ended).then(failed(_interrupted_in_vain(subject, attempts), view.now))
        case _:
            return told.then(_names(subject)).then(_under_way(view, job)).then(_no_artifact(subject))


def _attempts(view: FineTuneView, groups: Sequence[PodGroup]) -> tuple[AttemptStatus, ...]:
    seen = view.seen
    found = attempts_after(
        view.subject,
        groups,
        view.now,
        strays=seen.strays,
        job=seen.train,
    )
    job = seen.train
    if (
        job is not None
        and view.subject.spec.resources.nodes > 1
        and not (job.newest and job.newest.unsettled)
    ):
        found = with_unseen(found, job)
    return with_checkpoint(found, groups[-1].name if groups else None, seen.report)


async def _report(look: Look, job: JobState) -> TrainReport | None:
    pod = job.newest.leader if job.newest is not None else None
    if pod is None:
        return None
    if not pod.running:
        look.progress.forget(pod)
        return None
    return await look.progress.newest(pod, interval_seconds=look.means.settings.progress_interval_seconds)


async def _emissions(look: Look) -> tuple[EmissionsRecord, ...] | None:
    store = await look.store.get()
    if isinstance(store, Problem):
        return None
    try:
        return await read_attempts(store, look.subject.folder)
    except StorageError:
        return None


def _without_a_job(view: FineTuneView) -> Outcome:
    """Start, unless an earlier attempt has left an artifact, or may have."""
    found = view.seen.registration
    if found is None:
        return _start(view).then(_no_artifact(view.subject))
    if isinstance(found, Problem) and found.reason != "ArtifactInvalid":
        again = "Training goes on as soon as it is known whether there is an artifact."
        message = f"{sentence(found.message)} {again}"
        return finding(RUNNING, found.reason, message, requeue_after=STORAGE_SECONDS)
    return Outcome(done=True)


def _start(view: FineTuneView) -> Outcome:
    if view.subject.spec.suspend:
        return _not_running("Suspended", "spec.suspend is true: training starts when it is false.")
    if view.seen.strays:
        message = f"Waits for the end of pod {view.seen.strays[0]}."
        return _not_running("Pending", message, requeue_after=SOON_SECONDS)
    *beside, job = train_objects(view.subject, view.settings)
    pods = "pods" if beside else "pod"
    message = f"Job {job['metadata']['name']} waits for its {pods} to run."
    return _not_running("Pending", message, objects=(*beside, job))


def _names(subject: Subject) -> Outcome:
    """Return the Service of several nodes, so that one that somebody deletes is put back while the pods need it."""
    return Outcome(objects=(train_service(subject),) if subject.spec.resources.nodes > 1 else ())


def _under_way(view: FineTuneView, job: JobState) -> Outcome:
    newest = job.newest
    if view.subject.spec.suspend:
        return _not_running("Suspended", "spec.suspend is true: training goes on when it is false.")
    if newest is not None and (left := newest.abandoned(view.now)) is not None:
        return _not_running(
            "NodeLost", _abandoned(left), requeue_after=view.settings.progress_interval_seconds
        )
    if newest is not None and newest.running:
        return _trains(newest, view.seen.report, view.settings)
    ending = newest.ending if newest is not None else None
    if ending is not None and not ending.failed:
        return _not_running("TrainingFinished", "Training has ended well.", requeue_after=SOON_SECONDS)
    found = class_of(ending, queued_again=job.held_by_a_queue) if ending is not None else None
    if found is not None and found.counts == "Final":
        return Outcome(requeue_after=SOON_SECONDS)  # the Job is about to fail for it
    if job.refusal is None and newest is not None and ending is not None and found is not None:
        counted = f"; {_COUNTED[found.counts]}." if found.counts in _COUNTED else "."
        again = f"The next attempt resumes at the newest checkpoint{counted}"
        return _not_running(found.reason, f"Pod {newest.name} ended: {sentence(ending.message)} {again}")
    if newest is not None and ending is None and (partly := partly_started(newest, view.now)) is not None:
        return _not_running(partly.reason, partly.message, requeue_after=PARTLY_SECONDS)
    waiting = waiting_for(job, view.now)
    return _not_running(waiting.problem.reason, waiting.problem.message, requeue_after=waiting.requeue_after)


def _unsettled(view: FineTuneView, group: PodGroup) -> Outcome:
    """Wait for the pod that knows why the others ended: what the attempt counts as must not depend on who is heard first."""
    if view.subject.spec.suspend:
        return _not_running("Suspended", "spec.suspend is true: training goes on when it is false.")
    if (left := group.abandoned(view.now)) is not None:
        seconds = view.settings.progress_interval_seconds
        return _not_running("NodeLost", _abandoned(left), requeue_after=seconds)
    last = next(pod.name for pod in group.pods if pod.ending is None)
    message = (
        f"Pods of this training have ended because they lost another one. Waits for the end of pod {last}."
    )
    return _not_running("PeerLost", message, requeue_after=SOON_SECONDS)


_COUNTED: Final[dict[Counts, str]] = {
    "Failure": "backoffLimit counts this end",
    "Interruption": "it was interrupted, which is no failure",
}


def _abandoned(pod: PodState) -> str:
    node = pod.body["spec"].get("nodeName", "its node")
    return (
        f"Pod {pod.name} should have ended, and node {node} does not say that it did: it seems to be gone. The next attempt "
        "starts once the pod is gone. Bring the node back, or delete its Node object; where it is surely off, the taint "
        "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute does as well."
    )


def _interrupted_in_vain(subject: Subject, attempts: Sequence[AttemptStatus]) -> Problem:
    last = next((one for one in reversed(attempts) if one.end_time is not None), None)
    ended = f" The last one: {last.reason}. {last.message or ''}".rstrip() if last is not None else ""
    message = (
        f"{subject.spec.interruption_limit} attempts in a row were interrupted before they had a newer checkpoint "
        f"(interruptionLimit).{ended} In a new FineTuneJob set a smaller checkpoint.everySteps, or a priority class, nodes "
        "or a queue that leave the pod its time."
    )
    return Problem("InterruptionLimitExceeded", message)


def _trains(group: PodGroup, report: TrainReport | None, settings: Settings) -> Outcome:
    others = f" with {group.size - 1} more" if group.size > 1 else ""
    running = Finding(RUNNING, True, "Training", f"Pod {group.name} trains{others}.")
    if report is not None and report.outage is not None:
        saved = report.progress.checkpoint_step
        kept = f"the newest complete one is of step {saved}" if saved is not None else "there is none yet"
        message = (
            f"Storage does not answer pod {group.name}, which goes on and tries again. "
            f"Checkpoints wait: {kept}. {sentence(report.outage)}"
        )
        running = Finding(RUNNING, True, "StorageUnavailable", message)
    return Outcome(findings=(running,), requeue_after=settings.progress_interval_seconds)


def _no_artifact(subject: Subject) -> Outcome:
    """Take back what was said of an artifact that was looked for in vain."""
    if subject.condition(ARTIFACT_REGISTERED) is None:
        return Outcome()
    return finding(ARTIFACT_REGISTERED, "Training", "There is no artifact yet.")


def _why(subject: Subject, job: JobState, attempts: Sequence[AttemptStatus]) -> Problem:
    """Return why the training Job failed: what its last pod said, or else the Job controller."""
    words = job.failure or Problem("", "")
    ending = job.ending
    if words.reason == "DeadlineExceeded":
        return words
    if subject.spec.resources.nodes > 1 and counts_as(job, attempts) == "Interruption":
        return _interrupted_in_vain(subject, attempts)
    if ending is None or not ending.failed:
        counted = words.reason == "BackoffLimitExceeded"
        last = f" The last attempt ended: {attempts[-1].message}" if attempts and attempts[-1].message else ""
        message = f"The training Job failed: {words.message or 'its pods are gone'}.{last}"
        return Problem(words.reason if counted else "TrainingFailed", message)
    problem = ending.problem(TRAIN)
    if subject.spec.resources.nodes > 1:  # each end fails the Job
        counted = class_of(ending).counts != "Final"
        words = Problem("BackoffLimitExceeded" if counted else "", words.message)
    if words.reason != "BackoffLimitExceeded":
        return problem
    reached = f"Its backoffLimit of {subject.spec.backoff_limit} is reached."
    reason = (
        problem.reason
        if problem.reason in ("OutOfMemory", "PeersMissing", "Stalled")
        else "BackoffLimitExceeded"
    )
    return Problem(reason, f"The last attempt ended: {problem.message} {reached}")


def _not_running(reason: str, message: str, **rest: Any) -> Outcome:
    return finding(RUNNING, reason, message, **rest)
