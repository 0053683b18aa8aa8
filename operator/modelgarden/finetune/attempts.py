"""The attempts of a training as the status lists them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from modelgarden.api.conditions import SUSPENDED
from modelgarden.api.emissions import LOST
from modelgarden.api.finetunejob import AttemptStatus
from modelgarden.api.messages import clean
from modelgarden.api.pods import TrainReport
from modelgarden.controller.times import timestamp
from modelgarden.finetune.classes import QUEUED_AGAIN
from modelgarden.finetune.subject import Subject
from modelgarden.workloads.endings import TERMINATED
from modelgarden.workloads.groups import PodGroup
from modelgarden.workloads.jobs import JobState

MOST_ATTEMPTS: Final = 32
_MESSAGE_BYTES: Final = 512


def attempts_after(
    subject: Subject,
    groups: Iterable[PodGroup],
    now: datetime,
    *,
    strays: Sequence[str],
    job: JobState | None = None,
) -> tuple[AttemptStatus, ...]:
    """Return the attempts, oldest first: those known before, with what their pods show now.

    One whose pods are gone before they were seen to end is Lost, unless it is known who took them away: a suspension, or
    a queue that has suspended their Job again.
    """
    # Resumed before the pods were seen to go, the condition still tells of the suspension.
    suspended = subject.spec.suspend or subject.is_true(SUSPENDED)
    attempts = {one.pod: one for one in subject.status.attempts}
    present = set(strays)
    for group in groups:
        if group.started_at is not None or group.ending is not None:
            name = _name(group, attempts.values())
            attempts[name] = _attempt(group, name, attempts.get(name), job)
            present.add(name)
    for name, attempt in attempts.items():
        if name not in present and attempt.end_time is None:
            taken_back = job is not None and job.taken_back_since(attempt.start_time)
            gone = "Suspended" if suspended else QUEUED_AGAIN.reason if taken_back else LOST
            attempts[name] = _ended(attempt, reason=attempt.reason or gone, now=now)
    ordered = sorted(attempts.values(), key=lambda one: one.start_time or one.end_time or "")
    return tuple(ordered[-MOST_ATTEMPTS:])


def with_unseen(attempts: Sequence[AttemptStatus], job: JobState) -> tuple[AttemptStatus, ...]:
    """Return the attempts, with one for a Job of several nodes that failed before a pod of it was seen to start."""
    if job.result != "Failed" or job.finished_at is None:
        return tuple(attempts)
    made = timestamp(job.created_at)
    if any(one.started_at is not None or one.ending is not None for one in job.attempts):
        return tuple(attempts)
    name = f"{job.name}-{job.uid[:8]}"  # no pod tells of it: named after its Job
    if any(one.pod == name or (one.end_time or one.start_time or "") >= made for one in attempts):
        return tuple(attempts)
    why = job.failure.message if job.failure is not None else ""
    unseen = AttemptStatus(
        pod=name,
        end_time=timestamp(job.finished_at),
        reason="TrainingFailed",
        message=clean(f"Job {job.name} failed before its pods ran. {why}".strip(), length=_MESSAGE_BYTES),
    )
    return (*attempts, unseen)[-MOST_ATTEMPTS:]


def with_checkpoint(
    attempts: Iterable[AttemptStatus], name: str | None, report: TrainReport | None
) -> tuple[AttemptStatus, ...]:
    """Return the attempts, that of the name with the newest checkpoint that it tells of."""
    step = report.progress.checkpoint_step if report is not None else None
    return tuple(
        one.model_copy(update={"checkpoint_step": step}) if one.pod == name and step is not None else one
        for one in attempts
    )


def cut_short(attempts: Iterable[AttemptStatus], *, reason: str, now: datetime) -> tuple[AttemptStatus, ...]:
    """Return the attempts with those that still run ended now."""
    return tuple(one if one.end_time is not None else _ended(one, reason=reason, now=now) for one in attempts)


def _ended(attempt: AttemptStatus, *, reason: str, now: datetime) -> AttemptStatus:
    return attempt.model_copy(update={"end_time": timestamp(now), "reason": reason})


def _who_stopped(started: str | None, known: AttemptStatus | None, job: JobState | None) -> str:
    """Return why pods ended by SIGTERM: a queue's doing where it has their Job, else they do not say whose."""
    if known is not None and known.end_time is not None and known.reason in (TERMINATED, QUEUED_AGAIN.reason):
        return known.reason  # what becomes of the Job later is not this attempt's
    return QUEUED_AGAIN.reason if job is not None and job.taken_back_since(started) else TERMINATED


def _name(group: PodGroup, known: Iterable[AttemptStatus]) -> str:
    """Return what an attempt goes by: its first pod, also once that is gone: a Job that fails deletes what runs."""
    since = group.created_at
    if not group.lacks_its_first or since is None:
        return group.name
    made = timestamp(since)
    of_this = (one.pod for one in known if (one.start_time or one.end_time or "") >= made)
    return next(of_this, group.name)


def _attempt(group: PodGroup, name: str, known: AttemptStatus | None, job: JobState | None) -> AttemptStatus:
    ending, started = group.ending, group.started_at
    reason = ending.reason if ending is not None else group.disruption
    if reason == TERMINATED:
        reason = _who_stopped(started, known, job)
    return AttemptStatus(
        pod=name,
        start_time=started if started is not None or known is None else known.start_time,
        end_time=group.ended_at if ending is not None else None,
        reason=reason,
        message=clean(ending.message, length=_MESSAGE_BYTES) if ending is not None else None,
        checkpoint_step=known.checkpoint_step if known is not None else None,
    )
