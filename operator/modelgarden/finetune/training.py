"""The second stage of a plan: train on the prepared dataset, then register the artifact. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from modelgarden.api.conditions import ARTIFACT_REGISTERED, COMPLETE, FAILED, RUNNING
from modelgarden.api.finetunejob import AttemptStatus, Progress, Resolved
from modelgarden.api.messages import clean, sentence
from modelgarden.api.names import EXIT_USER_ERROR
from modelgarden.api.pods import TrainReport
from modelgarden.carbon.accounting import continued
from modelgarden.finetune.emissions import LOST, final
from modelgarden.finetune.manifests import train_job
from modelgarden.finetune.observe import Observation
from modelgarden.finetune.outcome import Outcome
from modelgarden.finetune.status import MOST_ATTEMPTS, Finding, moment, patience, timestamp
from modelgarden.finetune.subject import Subject
from modelgarden.finetune.waiting import SOON_SECONDS, waiting_for
from modelgarden.registry.versions import Registration
from modelgarden.settings import Settings
from modelgarden.workloads.jobs import TRAIN, JobState, PodState, Problem

REGISTER_SECONDS: Final = (5.0, 60.0)
"""Shortest and longest wait between two tries to register."""
DONE: Final = "Done"
"""Stage of a progress that has come to its end."""


def awaits_registration(subject: Subject, seen: Observation) -> bool:
    """Tell whether training has ended well, or may have before its Job was deleted, and has no version yet."""
    if subject.finished:
        return False
    if seen.train is not None:
        return seen.train.outcome == "Complete"
    return bool(subject.status.attempts) and not seen.strays and not subject.spec.suspend


def training(subject: Subject, seen: Observation, settings: Settings, now: datetime) -> Outcome:
    """Bring the training nearer to its end, once the dataset is ready."""
    job = seen.train
    pods = job.pods if job is not None else ()
    attempts = attempts_after(subject, pods, now, strays=seen.strays)
    told = Outcome(fields={"attempts": attempts})
    if job is None and seen.registration is None:
        return told.then(_start(subject, seen, settings)).then(_no_artifact(subject))
    if (
        job is None
        and isinstance(seen.registration, Problem)
        and seen.registration.reason != "ArtifactInvalid"
    ):
        return told.then(_unknown_artifact(subject, seen.registration, now))
    if job is None:
        return told.then(_registration(subject, seen, now))
    told = told.then(Outcome(fields=_reported(subject, seen, job)))
    match job.outcome:
        case "Complete":
            return told.then(_registration(subject, seen, now))
        case "Failed":
            spent = Outcome(fields={"carbon": final(subject.status.carbon, seen.emissions)})
            return told.then(spent).then(failed(_why(subject, job, attempts), now))
        case _:
            return told.then(_under_way(subject, seen, job, settings, now)).then(_no_artifact(subject))


def failed(why: Problem, now: datetime) -> Outcome:
    """End the job as failed."""
    return Outcome(
        findings=(
            Finding(RUNNING, False, why.reason, why.message),
            Finding(FAILED, True, why.reason, why.message),
        ),
        fields={"completion_time": timestamp(now)},
    )


def _start(subject: Subject, seen: Observation, settings: Settings) -> Outcome:
    if subject.spec.suspend:
        return _not_running("Suspended", "spec.suspend is true: training starts when it is false.")
    if seen.strays:
        return _not_running(
            "Pending", f"Waits for the end of pod {seen.strays[0]}.", requeue_after=SOON_SECONDS
        )
    job = train_job(subject, settings)
    return _not_running("Pending", f"Job {job['metadata']['name']} waits for its pod to run.", objects=(job,))


def _under_way(
    subject: Subject, seen: Observation, job: JobState, settings: Settings, now: datetime
) -> Outcome:
    pod = job.newest
    if subject.spec.suspend:
        return _not_running("Suspended", "spec.suspend is true: training goes on when it is false.")
    if pod is not None and pod.running:
        return Outcome(
            findings=(_running(pod, seen.report),),
            requeue_after=settings.progress_interval_seconds,
        )
    if pod is not None and pod.ending is not None and not pod.ending.failed:
        return _not_running("TrainingFinished", "Training has ended well.", requeue_after=SOON_SECONDS)
    if pod is not None and pod.ending is not None and pod.ending.exit_code == EXIT_USER_ERROR:
        return Outcome(requeue_after=SOON_SECONDS)  # the Job is about to fail for it
    if job.refusal is None and pod is not None and pod.ending is not None:
        again = "The next attempt resumes at the newest checkpoint."
        return _not_running("Retrying", f"Pod {pod.name} ended: {sentence(pod.ending.message)} {again}")
    waiting = waiting_for(job, now)
    return _not_running(waiting.problem.reason, waiting.problem.message, requeue_after=waiting.requeue_after)


def _running(pod: PodState, report: TrainReport | None) -> Finding:
    if report is None or report.outage is None:
        return Finding(RUNNING, True, "Training", f"Pod {pod.name} trains.")
    saved = report.progress.checkpoint_step
    kept = f"the newest complete one is of step {saved}" if saved is not None else "there is none yet"
    message = (
        f"Storage does not answer pod {pod.name}, which goes on and tries again. Checkpoints wait: {kept}."
    )
    return Finding(RUNNING, True, "StorageUnavailable", f"{message} {sentence(report.outage)}")


def _unknown_artifact(subject: Subject, problem: Problem, now: datetime) -> Outcome:
    """Wait to see whether an earlier attempt has left an artifact, before a GPU is taken to make it again."""
    before = subject.condition(RUNNING)
    since = moment(before.last_transition_time) if before else None
    wait = patience(since, now, shortest=REGISTER_SECONDS[0], longest=REGISTER_SECONDS[1])
    message = (
        f"{sentence(problem.message)} Training goes on as soon as it is known whether there is an artifact."
    )
    return _not_running(problem.reason, message, requeue_after=wait)


def _no_artifact(subject: Subject) -> Outcome:
    """Take back what was said of an artifact that was looked for in vain."""
    if subject.condition(ARTIFACT_REGISTERED) is None:
        return Outcome()
    return Outcome(findings=(_unregistered("Training", "There is no artifact yet."),))


def _why(subject: Subject, job: JobState, attempts: Sequence[AttemptStatus]) -> Problem:
    """Return why the training Job failed: what its last pod said, or else the Job controller."""
    words = job.failure or Problem("", "")
    ending = job.ending
    if words.reason == "DeadlineExceeded":
        return words
    if ending is None or not ending.failed:
        counted = words.reason == "BackoffLimitExceeded"
        last = f" The last attempt ended: {attempts[-1].message}" if attempts and attempts[-1].message else ""
        message = f"The training Job failed: {words.message or 'its pods are gone'}.{last}"
        return Problem(words.reason if counted else "TrainingFailed", message)
    problem = ending.problem(TRAIN)
    if words.reason != "BackoffLimitExceeded":
        return problem
    reached = f"Its backoffLimit of {subject.spec.backoff_limit} is reached."
    reason = "OutOfMemory" if problem.reason == "OutOfMemory" else "BackoffLimitExceeded"
    return Problem(reason, f"The last attempt ended: {problem.message} {reached}")


def _registration(subject: Subject, seen: Observation, now: datetime) -> Outcome:
    finished = Outcome(findings=(Finding(RUNNING, False, "TrainingFinished", "Training has ended well."),))
    match seen.registration:
        case Registration() as done:
            return finished.then(_registered(subject, done, now))
        case Problem(reason="ArtifactInvalid") as problem:
            refused = Outcome(findings=(_unregistered(problem.reason, problem.message),))
            return finished.then(failed(problem, now)).then(refused)
        case Problem() as problem:
            before = subject.condition(ARTIFACT_REGISTERED)
            since = moment(before.last_transition_time) if before else None
            wait = patience(since, now, shortest=REGISTER_SECONDS[0], longest=REGISTER_SECONDS[1])
            message = f"{sentence(problem.message)} The artifact is kept and is registered as soon as this is mended."
            waiting = Outcome(findings=(_unregistered(problem.reason, message),), requeue_after=wait)
            return finished.then(waiting)
        case _:
            message = "The artifact is complete in S3 and is being registered."
            waiting = Outcome(findings=(_unregistered("Registering", message),), requeue_after=SOON_SECONDS)
            return finished.then(waiting)


def _unregistered(reason: str, message: str) -> Finding:
    return Finding(ARTIFACT_REGISTERED, False, reason, message)


def _registered(subject: Subject, done: Registration, now: datetime) -> Outcome:
    artifact, manifest = done.artifact, done.manifest
    name = f"{artifact.model_name} version {artifact.version}"
    # A short training may end before its first report was read.
    progress = subject.status.progress or Progress(stage=DONE)
    end = {"stage": DONE, "step": progress.total_steps, "percent": 100, "eta_seconds": None}
    progress = progress.model_copy(update=end)
    resolved = (subject.status.resolved or Resolved()).model_copy(
        update={
            "revision": manifest.base_model.revision,
            "hyperparameters": {
                name: clean(value, length=128) for name, value in manifest.hyperparameters.items()
            },
        }
    )
    return Outcome(
        findings=(
            Finding(ARTIFACT_REGISTERED, True, "Registered", f"{name} is {artifact.uri}."),
            Finding(COMPLETE, True, "Succeeded", f"Trained, evaluated and registered as {name}."),
        ),
        fields={
            "completion_time": timestamp(now),
            "artifact": artifact,
            "evaluation": manifest.evaluation,
            "dataset": manifest.dataset.status,
            "carbon": continued(subject.status.carbon, manifest.emissions),
            "progress": progress,
            "resolved": resolved,
        },
    )


def _reported(subject: Subject, seen: Observation, job: JobState) -> dict[str, Any]:
    fields: dict[str, Any] = {"resolved": _resolved(subject, job, seen.report)}
    if seen.report is not None:
        fields["progress"] = seen.report.progress
        if seen.report.emissions is not None:
            fields["carbon"] = continued(subject.status.carbon, seen.report.emissions)
    return fields


def _resolved(subject: Subject, job: JobState, report: TrainReport | None) -> Resolved:
    known = subject.status.resolved or Resolved()
    digest = job.newest.image_id if job.newest is not None else None
    found: dict[str, Any] = {"image": job.image, "image_digest": digest or known.image_digest}
    if report is not None:
        found["revision"] = report.model_revision or known.revision
        found["hyperparameters"] = {
            name: clean(value, length=128) for name, value in report.resolved_hyperparameters.items()
        }
    return known.model_copy(update=found)


def attempts_after(
    subject: Subject, pods: Iterable[PodState], now: datetime, *, strays: Sequence[str]
) -> tuple[AttemptStatus, ...]:
    """Return the attempts, oldest first: those known before, with what their pods show now.

    One whose pod is gone before it was seen to end is Lost.
    """
    attempts = {one.pod: one for one in subject.status.attempts}
    present = set(strays)
    for pod in pods:
        if pod.started_at is not None or pod.ending is not None:
            attempts[pod.name] = _attempt(pod)
            present.add(pod.name)
    for name, attempt in attempts.items():
        if name not in present and attempt.end_time is None:
            reason = attempt.reason or ("Suspended" if subject.spec.suspend else LOST)
            attempts[name] = attempt.model_copy(update={"end_time": timestamp(now), "reason": reason})
    ordered = sorted(attempts.values(), key=lambda one: one.start_time or one.end_time or "")
    return tuple(ordered[-MOST_ATTEMPTS:])


def _attempt(pod: PodState) -> AttemptStatus:
    ending = pod.ending
    return AttemptStatus(
        pod=pod.name,
        start_time=pod.started_at,
        end_time=pod.ended_at if ending is not None else None,
        reason=ending.reason if ending is not None else pod.disruption,
        message=clean(ending.message, length=512) if ending is not None else None,
    )


def _not_running(reason: str, message: str, **rest: Any) -> Outcome:
    return Outcome(findings=(Finding(RUNNING, False, reason, message),), **rest)
