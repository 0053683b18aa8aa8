"""The first stage of a plan: are the inputs there, and is the dataset prepared? Pure.

A wrong input never ends the job. The operator keeps looking: when secret, bucket, model or dataset is mended, the
job goes on by itself, with a new prepare Job where the old one failed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from modelgarden.api.conditions import ACCEPTED, DATASET_READY
from modelgarden.api.messages import sentence
from modelgarden.api.names import EXIT_USER_ERROR
from modelgarden.finetune.manifests import prepare_job
from modelgarden.finetune.observe import Observation
from modelgarden.finetune.outcome import Outcome
from modelgarden.finetune.status import Finding, moment, patience, timestamp
from modelgarden.finetune.subject import Subject
from modelgarden.finetune.waiting import SOON_SECONDS, waiting_for
from modelgarden.kube.resources import JOBS
from modelgarden.settings import Settings
from modelgarden.workloads.jobs import PREPARE, JobState, Problem

BLOCKED_SECONDS: Final = (5.0, 60.0)
"""Shortest and longest wait between two looks at what keeps a job from being accepted."""
MENDED_SECONDS: Final = (10.0, 30.0)
"""The same for a dataset or model that prepare refused."""
RETRY_SECONDS: Final = 300.0
"""Wait before prepare runs again for a reason whose mending cannot be seen from here, such as a hub's model."""

_SEEN_IN_FINGERPRINT: Final = frozenset({"DatasetInvalid", "DatasetNotFound"})
_ONLY_WITH_OTHER_INPUTS: Final = frozenset({"InvalidConfiguration", "OutOfMemory"})
_MODEL_REASONS: Final = frozenset({"ModelInvalid", "ModelNotFound"})


def acceptance(subject: Subject, seen: Observation, now: datetime) -> Outcome:
    """Say whether the spec is valid and what it refers to exists."""
    if isinstance(seen.inputs, Problem):
        before = subject.condition(ACCEPTED)
        since = moment(before.last_transition_time) if before and before.status == "False" else None
        wait = patience(since, now, shortest=BLOCKED_SECONDS[0], longest=BLOCKED_SECONDS[1])
        finding = Finding(ACCEPTED, False, seen.inputs.reason, seen.inputs.message)
        return Outcome(findings=(finding,), requeue_after=wait)
    fields = {} if subject.status.start_time else {"start_time": timestamp(now)}
    message = "The spec is valid and what it refers to exists."
    return Outcome(findings=(Finding(ACCEPTED, True, "Accepted", message),), fields=fields)


def preparation(subject: Subject, seen: Observation, settings: Settings, now: datetime) -> Outcome:
    """Bring the dataset nearer to being prepared."""
    job = seen.prepare
    if subject.is_true(DATASET_READY):
        return Outcome()
    if job is None:
        return _start(subject, seen, settings)
    match job.outcome:
        case "Complete":
            return _ready(job, seen)
        case "Failed":
            return _refused(subject, seen, job, now)
        case _:
            return _under_way(subject, job, now)


def _start(subject: Subject, seen: Observation, settings: Settings) -> Outcome:
    if not isinstance(seen.inputs, str):
        return Outcome()
    if subject.spec.suspend:
        return _not_ready("Suspended", "spec.suspend is true: the prepare Job starts when it is false.")
    if seen.strays:
        return _not_ready(
            "Preparing", f"Waits for the end of pod {seen.strays[0]}.", requeue_after=SOON_SECONDS
        )
    job = prepare_job(subject, settings, inputs_hash=seen.inputs)
    return _not_ready("Preparing", _preparing(job["metadata"]["name"]), objects=(job,))


def _ready(job: JobState, seen: Observation) -> Outcome:
    said = job.ending.said if job.ending is not None else None
    dataset = (said.dataset if said is not None else None) or seen.dataset
    message = "The dataset is prepared in S3."
    if dataset is not None:
        message = f"{dataset.training_rows} rows to train on and {dataset.validation_rows} held out are prepared in S3."
    return Outcome(
        findings=(Finding(DATASET_READY, True, "DatasetReady", message),),
        fields={"dataset": dataset} if dataset is not None else {},
    )


def _under_way(subject: Subject, job: JobState, now: datetime) -> Outcome:
    if subject.spec.suspend:
        return _not_ready("Suspended", "spec.suspend is true: the prepare Job goes on when it is false.")
    waiting = waiting_for(job, now)
    if waiting.problem.reason != "Pending":
        return _not_ready(
            waiting.problem.reason, waiting.problem.message, requeue_after=waiting.requeue_after
        )
    if job.ending is None or not job.ending.failed:
        return _not_ready("Preparing", _preparing(job.name), requeue_after=waiting.requeue_after)
    if job.ending.exit_code == EXIT_USER_ERROR:  # the Job is about to fail for it
        return _not_ready("Preparing", sentence(job.ending.message), requeue_after=SOON_SECONDS)
    # Said for as long as the next pod has not ended either: it may only run into the same.
    message = f"{sentence(job.ending.message)} The prepare Job tries again."
    return _not_ready("Retrying", message, requeue_after=waiting.requeue_after)


def _refused(subject: Subject, seen: Observation, job: JobState, now: datetime) -> Outcome:
    why = _why(job)
    if (
        not subject.spec.suspend
        and isinstance(seen.inputs, str)
        and _may_be_mended(subject, job, why, inputs=seen.inputs, now=now)
    ):
        return Outcome(
            findings=(Finding(DATASET_READY, False, "Preparing", "The prepare Job starts again."),),
            deletes=((JOBS, job.name),),
            requeue_after=SOON_SECONDS,
        )
    wait = patience(job.finished_at, now, shortest=MENDED_SECONDS[0], longest=MENDED_SECONDS[1])
    return _not_ready(why.reason, f"{sentence(why.message)} {_hope(subject, why)}", requeue_after=wait)


def _why(job: JobState) -> Problem:
    if job.ending is not None and job.ending.failed:
        return job.ending.problem(PREPARE)
    words = job.failure.message if job.failure is not None else ""
    return Problem("PrepareFailed", f"The prepare Job failed: {words or 'its pods are gone'}.")


def _may_be_mended(subject: Subject, job: JobState, why: Problem, *, inputs: str, now: datetime) -> bool:
    if inputs != job.inputs_hash:
        return True
    if not _tried_again(subject, why) or job.finished_at is None:
        return False
    return (now - job.finished_at).total_seconds() >= RETRY_SECONDS


def _tried_again(subject: Subject, why: Problem) -> bool:
    """Tell whether the reason can go away without a change of the fingerprint."""
    if why.reason in _SEEN_IN_FINGERPRINT | _ONLY_WITH_OTHER_INPUTS:
        return False
    return why.reason not in _MODEL_REASONS or subject.spec.model.source.startswith("hf://")


def _hope(subject: Subject, why: Problem) -> str:
    minutes = round(RETRY_SECONDS / 60)
    if _tried_again(subject, why):
        return f"It is tried again when dataset, model or a secret change, and every {minutes} minutes."
    return "It is tried again by itself when dataset, model or a secret change."


def _preparing(name: str) -> str:
    return f"Job {name} checks and converts the dataset."


def _not_ready(reason: str, message: str, **rest: Any) -> Outcome:
    return Outcome(findings=(Finding(DATASET_READY, False, reason, message),), **rest)
