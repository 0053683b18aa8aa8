"""Why a Job has no running pod yet. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modelgarden.api.conditions import Problem
from modelgarden.api.messages import sentence
from modelgarden.api.names import QUEUE_LABEL
from modelgarden.api.pods import GROUP_PATIENCE_SECONDS
from modelgarden.controller.waiting import patience
from modelgarden.workloads.groups import PodGroup
from modelgarden.workloads.jobs import JobState
from modelgarden.workloads.refusals import PATIENCE_SECONDS

UNSCHEDULABLE_SECONDS: Final = 5.0
"""A pod that finds its place within it was never worth a word."""
REFUSED_SECONDS: Final = 60.0
"""Longest wait between two questions why a Job has no pod, or why its pod does not start."""


@dataclass(frozen=True)
class Waiting:
    """What is waited for; Pending where nothing is wrong."""

    problem: Problem
    requeue_after: float | None = None


PARTLY_SECONDS: Final = 10.0
"""Between two looks at pods of which some run and wait for the others."""


def partly_started(group: PodGroup, now: datetime) -> Problem | None:
    """Return what the pods that run wait for, None where all of them do, or none."""
    since = group.first_started_at
    if since is None or group.started_at is not None:
        return None
    running = sum(pod.started_at is not None for pod in group.pods)
    left = max(0, round(GROUP_PATIENCE_SECONDS - (now - datetime.fromisoformat(since)).total_seconds()))
    waiting = group.waiting
    why = f" {sentence(waiting.message)}" if waiting is not None else ""
    message = f"{running} of {group.size} pods run and wait for the others, for {left} s at most.{why}"
    return Problem(waiting.reason if waiting is not None else "Pending", message)


def waiting_for(job: JobState, now: datetime) -> Waiting:
    """Return what the Job's newest attempt waits for."""
    newest = job.newest
    if newest is None and job.suspended:
        return Waiting(_suspended(job))
    again = patience(job.created_at, now, shortest=PATIENCE_SECONDS, longest=REFUSED_SECONDS)
    if job.refusal is not None:
        message = f"Job {job.name} cannot make its pod: {job.refusal}. It tries again by itself once that is mended."
        return Waiting(Problem("ApplyRejected", message), requeue_after=again)
    pending = Problem("Pending", f"Job {job.name} waits for its pod to run.")
    if newest is None:
        return Waiting(pending, requeue_after=again)
    if newest.waiting is None:
        placed = newest.waiting_since is None and newest.started_at is None
        return Waiting(job.stuck or pending, requeue_after=again if placed else None)
    if newest.waiting.reason == "Unschedulable" and newest.waiting_since is not None:
        left = UNSCHEDULABLE_SECONDS - (now - newest.waiting_since).total_seconds()
        if left > 0:
            return Waiting(pending, requeue_after=min(left, UNSCHEDULABLE_SECONDS))
    return Waiting(newest.waiting)


def _suspended(job: JobState) -> Problem:
    if job.suspended_by_operator:
        return Problem("Pending", f"Job {job.name} is suspended: it goes on in a moment.")
    if job.queue is None:
        message = (
            f"Job {job.name} is suspended, and not by this operator: it goes on when its spec.suspend is false. Where Kueue "
            f"manages every Job, name a queue in the label {QUEUE_LABEL} of podTemplate."
        )
        return Problem("Pending", message)
    message = (
        f"Job {job.name} waits until queue {job.queue} has room for all of its pods; kubectl describe workload in this "
        "namespace says what is missing."
    )
    return Problem("Queued", message)
