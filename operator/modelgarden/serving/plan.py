"""What a ModelDeployment needs next: its children, its status and the next look. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from modelgarden.api.conditions import Problem
from modelgarden.api.modeldeployment import ModelDeploymentStatus
from modelgarden.controller.plan import Event, Plan
from modelgarden.controller.times import micro_timestamp
from modelgarden.controller.waiting import recheck
from modelgarden.kube.drift import repair
from modelgarden.kube.resources import DEPLOYMENTS
from modelgarden.serving.decision import Decision, ServingView, deadline_of, decide
from modelgarden.serving.engines import ENGINE_SECONDS, unready
from modelgarden.serving.manifests import (
    FAILED_ANNOTATION,
    RAISED_ANNOTATION,
    SCALED_ANNOTATION,
    SERVED_ANNOTATION,
    as_made,
    deployment,
    deployment_name,
    notes_of,
    rescaled,
    service,
)
from modelgarden.serving.observation import report_interval
from modelgarden.serving.rollout import SURGE_GRACE, Revision, Rollout, progress_at, removable
from modelgarden.serving.status import blocked_by, status_of

LONGEST_WAIT_SECONDS: Final = 60.0
STARTING_SECONDS: Final = 10.0
"""How often pods that have not started are looked at: only events tell why one does not."""


def plan(view: ServingView) -> Plan:
    """Return the children, the status and the next look for one ModelDeployment."""
    subject, decision = view.subject, decide(view)
    children = [service(subject.namespace, subject.name)]
    deletes: tuple[str, ...] = ()
    if decision.rollout is not None:
        children += _deployments(view, decision, decision.rollout)
        deletes = removable(decision.rollout, decision.wanted.name if decision.wanted else None)
    status, event = status_of(view, decision)
    return Plan(
        objects=tuple(children),
        deletes=tuple((DEPLOYMENTS, deployment_name(subject.name, revision)) for revision in deletes),
        status=status.to_dict(),
        requeue_after=_next_look(view, decision),
        event=event,
    )


def unreadable(status: ModelDeploymentStatus, *, generation: int, message: str, now: datetime) -> Plan:
    """Return the plan for a spec that this operator cannot read: say so, and leave what runs as it is."""
    refused = Problem("InvalidSpec", message)
    blocked = blocked_by(refused, status, generation=generation, now=now)
    return Plan(status=blocked.to_dict(), event=Event("Warning", refused.reason, refused.message))


def _deployments(view: ServingView, decision: Decision, rollout: Rollout) -> list[dict[str, Any]]:
    """Return the wanted revision's Deployment, and those of other revisions that change or that somebody changed."""
    children: list[dict[str, Any] | None] = []
    for revision in (rollout.target, *rollout.others):
        replicas = decision.scales[revision.name]
        live = view.seen.deployments.get(revision.name)
        changes = _scaling(revision, replicas, view.now) if live else {}
        if (
            decision.model is not None
            and decision.wanted is not None
            and revision.name == decision.wanted.name
        ):
            notes = {**_history(decision.wanted, rollout), **changes}
            if live is None:
                children.append(
                    deployment(decision.model, revision.name, replicas=replicas, annotations=notes)
                )
            else:
                children.append(_wanted(revision, live, replicas, notes, view.now))
        elif live is not None:
            children.append(_earlier(revision, live, replicas, changes, view.now))
    return [child for child in children if child is not None]


def _wanted(
    revision: Revision, live: Mapping[str, Any], replicas: int, notes: dict[str, str], now: datetime
) -> dict[str, Any] | None:
    """Return the wanted revision's Deployment as it was made; None where there is nothing to write."""
    made = as_made(live, replicas=replicas, annotations=notes, surge=revision.may_surge(now))
    if made is not None:
        return made
    if (replicas, notes) == (live["spec"].get("replicas", 1), notes_of(live)):
        return None
    return rescaled(live, replicas=replicas, annotations=notes)


def _earlier(
    revision: Revision, live: Mapping[str, Any], replicas: int, changes: dict[str, str], now: datetime
) -> dict[str, Any] | None:
    """Return the Deployment of another revision as it was made; None where there is nothing to write."""
    surge, notes = revision.may_surge(now), {**notes_of(live), **changes}
    made = as_made(live, replicas=replicas, annotations=notes, surge=surge)
    if made is not None:
        return made if changes or surge != revision.surges or repair(made, live) is not None else None
    return rescaled(live, replicas=replicas, annotations=changes) if changes else None


def _scaling(revision: Revision, replicas: int, now: datetime) -> dict[str, str]:
    """Return what is noted of a change of replicas: also what makes the applied manifest differ after a drift."""
    if replicas == revision.wanted:
        return {}
    moment = micro_timestamp(now)
    return {SCALED_ANNOTATION: moment, **({RAISED_ANNOTATION: moment} if replicas > revision.wanted else {})}


def _history(revision: Revision, rollout: Rollout) -> dict[str, str]:
    notes: dict[str, str] = {}
    if revision.scaled_at is not None:
        notes[SCALED_ANNOTATION] = micro_timestamp(revision.scaled_at)
    if revision.raised_at is not None:
        notes[RAISED_ANNOTATION] = micro_timestamp(revision.raised_at)
    fully = rollout.complete and rollout.replicas > 0 and not rollout.returning
    if revision.served or fully:
        notes[SERVED_ANNOTATION] = "true"
    if revision.failed is not None:
        notes[FAILED_ANNOTATION] = _noted(revision.failed)
    return notes


def _noted(problem: Problem) -> str:
    return json.dumps({"reason": problem.reason, "message": problem.message})


def _next_look(view: ServingView, decision: Decision) -> float | None:
    """Return seconds until something is due that no event tells of."""
    resolution, pods = view.seen.resolution, view.seen.pods
    phases = {pod.get("status", {}).get("phase") for pod in pods}
    due: list[float] = []
    problem = resolution.refused or (None if resolution.waits else resolution.problem)
    if problem is not None:
        due.append(recheck(problem))
    if "Running" in phases:
        due.append(report_interval(pods))
    if "Pending" in phases:
        due.append(STARTING_SECONDS)
    if unready(pods):
        due.append(ENGINE_SECONDS)
    if decision.rollout is not None:
        due += _rollouts_dues(view, decision.rollout)
    return min(due, default=None)


def _rollouts_dues(view: ServingView, rollout: Rollout) -> list[float]:
    target, due = rollout.target, []
    if target.starved_since is not None and not target.starved(view.now):
        due.append(_seconds(target.starved_since + SURGE_GRACE - view.now))
    if not rollout.complete and not target.served:
        left = progress_at(rollout) + deadline_of(view) - view.now
        due.append(_seconds(left) if left > timedelta() else LONGEST_WAIT_SECONDS)
    return due


def _seconds(span: timedelta) -> float:
    return max(0.1, span.total_seconds())
