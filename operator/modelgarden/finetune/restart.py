"""What follows the end of an attempt of several nodes, whose Job has failed with it. Pure.

The Job of one node starts the next pod itself and counts failures. A Job of several is one attempt: it gives way to another
one of its name, and failures are counted by the attempts of the status.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from modelgarden.api.conditions import RUNNING
from modelgarden.api.finetunejob import AttemptStatus
from modelgarden.api.messages import sentence
from modelgarden.controller.waiting import SOON_SECONDS
from modelgarden.finetune.classes import (
    Counts,
    EndClass,
    class_of,
    class_of_attempt,
    failures,
    interruptions_in_vain,
)
from modelgarden.finetune.outcome import Outcome, finding
from modelgarden.finetune.steps.step import FineTuneView
from modelgarden.finetune.subject import Subject
from modelgarden.kube.resources import JOBS
from modelgarden.workloads.jobs import JobState

FIRST_SECONDS: Final = 10.0
LONGEST_SECONDS: Final = 360.0
"""Waits before the next attempt, as the Job controller has them: 10 s, doubled with each failure, up to six minutes."""


def goes_on(subject: Subject, job: JobState, attempts: Sequence[AttemptStatus]) -> bool:
    """Tell whether another attempt may follow the newest one, which has ended."""
    found = _class(job, attempts)
    if found.counts == "Final" or (job.failure is not None and job.failure.reason == "DeadlineExceeded"):
        return False
    return (
        failures(attempts) <= subject.spec.backoff_limit
        and interruptions_in_vain(attempts) < subject.spec.interruption_limit
    )


def again(view: FineTuneView, job: JobState, attempts: Sequence[AttemptStatus]) -> Outcome:
    """Tell how the attempt ended, and make room for the next one once its time has come."""
    found = _class(job, attempts)
    ended = next((one for one in reversed(attempts) if one.end_time is not None), None)
    said = f" {sentence(ended.message)}" if ended is not None and ended.message else ""
    counted = "; backoffLimit counts this end" if found.counts == "Failure" else ""
    message = (
        f"The pods of Job {job.name} have ended.{said} All of them resume at the newest checkpoint{counted}."
    )
    left = _wait(failures(attempts)) - _since(job, view.now)
    if left > 0:
        return finding(RUNNING, found.reason, message, requeue_after=left)
    return Outcome(deletes=((JOBS, job.name),)).then(
        finding(RUNNING, found.reason, message, requeue_after=SOON_SECONDS)
    )


def counts_as(job: JobState, attempts: Sequence[AttemptStatus]) -> Counts:
    """Return what the end of the newest attempt counts as."""
    return _class(job, attempts).counts


def _class(job: JobState, attempts: Sequence[AttemptStatus]) -> EndClass:
    """Return what the end means: by its pods, or, where they are gone, by what was noted of it."""
    if job.ending is not None and job.ending.failed:
        return class_of(job.ending, queued_again=job.held_by_a_queue)
    return class_of_attempt(attempts[-1]) if attempts else class_of_attempt(AttemptStatus(pod=job.name))


def _wait(count: int) -> float:
    return min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** max(0, count - 1))


def _since(job: JobState, now: datetime) -> float:
    return (now - job.finished_at).total_seconds() if job.finished_at is not None else LONGEST_SECONDS
