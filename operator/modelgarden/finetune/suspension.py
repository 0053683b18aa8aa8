"""`spec.suspend` and `spec.backoffLimit`, carried to the Jobs that live. Pure."""

from __future__ import annotations

from typing import Any

from modelgarden.api.conditions import SUSPENDED
from modelgarden.controller.conditions import Finding
from modelgarden.finetune.manifests.jobs import amended
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.outcome import Outcome, finding
from modelgarden.finetune.subject import Subject
from modelgarden.kube.resources import JOBS


def suspension(subject: Subject, seen: Observation) -> Outcome:
    """Carry spec.suspend to the Jobs, when it is set and when it is taken back; otherwise the field is a queue's."""
    if subject.spec.suspend:
        held = Finding(SUSPENDED, True, "Suspended", "spec.suspend is true: no pod runs.")
        queued = {job.name for job in seen.unfinished if subject.queued or job.queue is not None}
        stopped = tuple(
            amended(job.body, suspend=True)
            for job in seen.unfinished
            if job.name not in queued and not job.suspended
        )
        # A queue starts an admitted Job again; without a Job its quota is free, and resuming queues anew.
        return Outcome(
            findings=(held,), objects=stopped, deletes=tuple((JOBS, name) for name in sorted(queued))
        )
    started = _resumed(subject, seen)
    outcome = Outcome(objects=started) if started else _backoff_limit(subject, seen)
    if subject.condition(SUSPENDED) is None:
        return outcome
    return finding(SUSPENDED, "Resumed", "spec.suspend is false.").then(outcome)


def _resumed(subject: Subject, seen: Observation) -> tuple[dict[str, Any], ...]:
    """Return the Jobs that the operator itself suspended, to run again; a queue starts its own."""
    # The condition may not have been written before the user resumed; the Job's annotation came with its suspension.
    return tuple(
        amended(job.body, suspend=False)
        for job in seen.unfinished
        if not subject.queued
        and job.queue is None
        and job.suspended
        and (job.suspended_by_operator or subject.is_true(SUSPENDED))
    )


def _backoff_limit(subject: Subject, seen: Observation) -> Outcome:
    job, wanted = seen.train, subject.spec.backoff_limit
    if subject.spec.resources.nodes > 1:  # whose Job is one attempt
        return Outcome()
    if job is None or not job.unfinished or job.body["spec"].get("backoffLimit") == wanted:
        return Outcome()
    return Outcome(objects=(amended(job.body, backoff_limit=wanted),))
