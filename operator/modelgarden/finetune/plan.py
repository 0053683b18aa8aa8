"""The plan of a FineTuneJob: from spec, observation and time to wanted objects, status and the next look. Pure.

Accepted -> DatasetReady (prepare Job) -> Running (train Job) -> ArtifactRegistered -> Complete, or Failed; then Published
(publish Job), where a hub is named. Every call decides from what is seen, not from the phase, so it does not matter what
was missed or done twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from modelgarden.api.conditions import (
    ACCEPTED,
    ARTIFACT_REGISTERED,
    COMPLETE,
    DATASET_READY,
    FAILED,
    PUBLISHED,
    RUNNING,
    SUSPENDED,
    Condition,
    Problem,
)
from modelgarden.api.emissions import ended_record
from modelgarden.api.finetunejob import FineTuneJobStatus, Phase
from modelgarden.controller.conditions import Finding, conditions
from modelgarden.controller.plan import Event, Plan
from modelgarden.controller.results import AWAITED
from modelgarden.controller.times import moment
from modelgarden.finetune.attempts import attempts_after, cut_short
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.outcome import Outcome, failed
from modelgarden.finetune.status import ORDER, phase_of, written
from modelgarden.finetune.steps import STEPS, publish
from modelgarden.finetune.steps.step import FineTuneView
from modelgarden.finetune.subject import Subject
from modelgarden.finetune.suspension import suspension
from modelgarden.kube.resources import FINETUNEJOBS, JOBS
from modelgarden.registry.artifacts import Registration

LONGEST_WAIT_SECONDS: Final = 3600.0
INVALID_SECONDS: Final = 300.0

_EVENT_CONDITIONS: Final[dict[Phase, tuple[str, ...]]] = {
    "Blocked": (ACCEPTED, DATASET_READY, RUNNING),
    "Preparing": (DATASET_READY,),
    "Pending": (ACCEPTED, RUNNING),
    "Training": (RUNNING,),
    "Registering": (ARTIFACT_REGISTERED,),
    "Suspended": (SUSPENDED,),
    "Complete": (COMPLETE, PUBLISHED),
    "Failed": (FAILED,),
}
"""The condition that tells of a phase: the first of these that is not True, or else the last."""
_BAD_PHASES: Final = frozenset({"Blocked", "Failed", "Pending"})
_BAD_REASONS: Final = frozenset(
    {
        "Evicted", "NodeLost", "OutOfMemory", "Preempted", "Retrying", "Stalled", "StartFailed", "StorageUnavailable",
    }
)  # fmt: skip
"""Of a phase in which nothing else is wrong."""
_CALM_REASONS: Final = AWAITED | {"Queued"}
"""Of a phase in which something else may be wrong."""


def plan(view: FineTuneView) -> Plan:
    """Return what to do now."""
    subject, seen, now = view.subject, view.seen, view.now
    if subject.finished:
        return _after_the_end(view)
    left = _seconds_left(subject, now)
    if left is not None and left <= 0 and not _training_ended(seen):
        return _plan(subject, _deadline_exceeded(subject, seen, now), now)
    outcome = _steps(view)
    if outcome.effect is not None:
        return Plan(effect=outcome.effect)
    outcome = outcome.then(suspension(subject, seen))
    if left is not None and left > 0:
        outcome = outcome.then(Outcome(requeue_after=left))
    return _plan(subject, outcome, now)


def _steps(view: FineTuneView) -> Outcome:
    """Put the steps together, up to the first that is not done."""
    outcome = Outcome()
    for step in STEPS:
        outcome = outcome.then(step.plan(view))
        if not outcome.done:
            break
    return outcome


def unreadable(status: FineTuneJobStatus, *, generation: int, message: str, now: datetime) -> Plan:
    """Return the plan for a spec that this operator cannot read: say so, change nothing."""
    finding = Finding(ACCEPTED, False, "InvalidSpec", message)
    found = conditions(status.conditions, (finding,), order=ORDER, generation=generation, now=now)
    return _with_status(status, found, Outcome(requeue_after=INVALID_SECONDS), generation=generation)


def _after_the_end(view: FineTuneView) -> Plan:
    """Publish where that is left to do, and delete what has outlived its time; what is not published yet has not."""
    subject, now = view.subject, view.now
    if publish.awaits_publication(subject):
        return _plan(subject, publish.plan(view), now)
    plan = _plan(subject, Outcome(), now)
    ttl, ended = subject.spec.ttl_seconds_after_finished, _ended(subject)
    if ttl is None or ended is None:
        return plan
    left = (ended + timedelta(seconds=ttl) - now).total_seconds()
    if left <= 0:
        return Plan(deletes=((FINETUNEJOBS, subject.name),))
    return Plan(status=plan.status, requeue_after=min(left, LONGEST_WAIT_SECONDS))


def _ended(subject: Subject) -> datetime | None:
    """Return since when nothing is left to do."""
    if subject.status.completion_time is None:
        return None
    completed, published = moment(subject.status.completion_time), subject.condition(PUBLISHED)
    return completed if published is None else max(completed, moment(published.last_transition_time))


def _training_ended(seen: Observation) -> bool:
    """Tell whether there is nothing left that a deadline could end: what was trained is kept, come what may."""
    return isinstance(seen.registration, Registration) or (
        seen.train is not None and seen.train.result != "Active"
    )


def _seconds_left(subject: Subject, now: datetime) -> float | None:
    """Return the seconds until the deadline, which stands still while suspended and starts anew on resumption."""
    deadline, started = subject.spec.active_deadline_seconds, subject.status.start_time
    if deadline is None or started is None or subject.spec.suspend:
        return None
    if subject.is_true(SUSPENDED):  # resumed just now
        return float(deadline)
    begin = moment(started)
    resumed = subject.condition(SUSPENDED)
    if resumed is not None:
        begin = max(begin, moment(resumed.last_transition_time))
    return (begin + timedelta(seconds=deadline) - now).total_seconds()


def _deadline_exceeded(subject: Subject, seen: Observation, now: datetime) -> Outcome:
    message = (
        f"activeDeadlineSeconds ({subject.spec.active_deadline_seconds}) has passed. Create a new FineTuneJob with a "
        "longer deadline."
    )
    jobs = tuple((JOBS, job.name) for job in seen.unfinished)
    ended = Outcome(deletes=jobs, fields=_spent(subject, seen, now))
    return ended.then(failed(Problem("DeadlineExceeded", message), now))


def _spent(subject: Subject, seen: Observation, now: datetime) -> dict[str, Any]:
    """Return the attempts and their energy as they stand when the deadline ends them."""
    groups = seen.train.attempts if seen.train is not None else ()
    attempts = attempts_after(subject, groups, now, strays=seen.strays)
    carbon = subject.status.carbon
    return {
        "attempts": cut_short(attempts, reason="DeadlineExceeded", now=now),
        "carbon": carbon and ended_record(carbon, reason="Terminated"),
    }


def _plan(subject: Subject, outcome: Outcome, now: datetime) -> Plan:
    found = conditions(
        subject.status.conditions, outcome.findings, order=ORDER, generation=subject.generation, now=now
    )
    ttl = subject.spec.ttl_seconds_after_finished
    if ttl is not None and any(one.type in (COMPLETE, FAILED) and one.status == "True" for one in found):
        outcome = outcome.then(Outcome(requeue_after=float(ttl)))
    return _with_status(subject.status, found, outcome, generation=subject.generation)


def _with_status(
    before: FineTuneJobStatus, found: tuple[Condition, ...], outcome: Outcome, *, generation: int
) -> Plan:
    phase = phase_of(found)
    status = before.model_copy(
        update={
            **outcome.fields,
            "conditions": found,
            "phase": phase,
            "observed_generation": generation,
        }
    )
    wait = outcome.requeue_after
    return Plan(
        objects=outcome.objects,
        deletes=outcome.deletes,
        status=written(status),
        requeue_after=None if wait is None else min(wait, LONGEST_WAIT_SECONDS),
        event=_event(phase, found),
    )


def _event(phase: Phase, found: tuple[Condition, ...]) -> Event | None:
    by_type = {one.type: one for one in found}
    told = [by_type[kind] for kind in _EVENT_CONDITIONS[phase] if kind in by_type]
    if not told:
        return None
    condition = next((one for one in told if one.status != "True"), told[-1])
    if condition.type == PUBLISHED:
        bad = condition.status != "True" and condition.reason not in publish.CALM_REASONS
    else:
        bad = condition.reason not in _CALM_REASONS and (
            phase in _BAD_PHASES or condition.reason in _BAD_REASONS
        )
    return Event("Warning" if bad else "Normal", condition.reason, condition.message)
