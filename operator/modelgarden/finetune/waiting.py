"""Why a Job has no running pod yet. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modelgarden.finetune.status import patience
from modelgarden.workloads.jobs import JobState, Problem
from modelgarden.workloads.refusals import PATIENCE_SECONDS

SOON_SECONDS: Final = 2.0
"""Wait for what ends by itself in a moment."""
UNSCHEDULABLE_SECONDS: Final = 5.0
"""A pod that finds its place within it was never worth a word."""


REFUSED_SECONDS: Final = 60.0
"""Longest wait between two questions why a Job has no pod."""


@dataclass(frozen=True)
class Waiting:
    """What is waited for; Pending where nothing is wrong."""

    problem: Problem
    requeue_after: float | None = None


def waiting_for(job: JobState, now: datetime) -> Waiting:
    """Return what the Job's newest pod waits for."""
    pod = job.newest
    if pod is None and job.suspended:
        queue = "it goes on in a moment" if job.suspended_by_operator else "it waits for its queue"
        return Waiting(Problem("Pending", f"Job {job.name} is suspended: {queue}."))
    if job.refusal is not None:
        message = f"Job {job.name} cannot make its pod: {job.refusal}. It tries again by itself once that is mended."
        return Waiting(Problem("ApplyRejected", message), requeue_after=_patience(job, now))
    pending = Problem("Pending", f"Job {job.name} waits for its pod to run.")
    if pod is None:
        return Waiting(pending, requeue_after=_patience(job, now))
    if pod.waiting is None:
        return Waiting(pending)
    if pod.waiting.reason == "Unschedulable" and pod.waiting_since is not None:
        left = UNSCHEDULABLE_SECONDS - (now - pod.waiting_since).total_seconds()
        if left > 0:
            return Waiting(pending, requeue_after=min(left, UNSCHEDULABLE_SECONDS))
    return Waiting(pod.waiting)


def _patience(job: JobState, now: datetime) -> float:
    return patience(job.created_at, now, shortest=PATIENCE_SECONDS, longest=REFUSED_SECONDS)
