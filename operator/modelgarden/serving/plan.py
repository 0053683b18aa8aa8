"""What a ModelDeployment needs next, decided from one observation. Pure: no clock, no I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from modelgarden.api.conditions import ACCEPTED, DEGRADED, MODEL_RESOLVED, Problem
from modelgarden.controller.plan import Event, Plan
from modelgarden.kube.resources import DEPLOYMENTS
from modelgarden.serving.manifests import (
    FAILED_ANNOTATION,
    RAISED_ANNOTATION,
    SCALED_ANNOTATION,
    SERVED_ANNOTATION,
    Wanted,
    deployment,
    deployment_name,
    rescaled,
    revision_name,
    service,
)
from modelgarden.serving.observe import Observed, report_interval
from modelgarden.serving.rollout import (
    SURGE_GRACE,
    Revision,
    Rollout,
    aim,
    progress_at,
    removable,
    scale,
    verdict,
)
from modelgarden.serving.status import Outcome, status_of
from modelgarden.settings import Settings

SHORTEST_WAIT_SECONDS: Final = 5.0
LONGEST_WAIT_SECONDS: Final = 60.0
_TROUBLES: Final = ((ACCEPTED, "False"), (MODEL_RESOLVED, "False"), (DEGRADED, "True"))


@dataclass(frozen=True)
class _Decision:
    """The rollout as it is to go on."""

    rollout: Rollout
    scales: Mapping[str, int]
    wanted: Revision | None


def plan(observed: Observed, settings: Settings) -> Plan:
    """Return the children, the status and the next look for one ModelDeployment."""
    wanted = _wanted(observed, settings)
    decision = _decide(observed, wanted)
    children = [service(observed.namespace, observed.name)]
    deletes: tuple[str, ...] = ()
    if decision is not None:
        children += _deployments(observed, wanted, decision)
        deletes = removable(decision.rollout, decision.wanted.name if decision.wanted else None)
    outcome = Outcome(
        rollout=decision.rollout if decision else None,
        scales=decision.scales if decision else {},
        wanted=decision.wanted if decision else None,
        model=wanted.model if wanted else None,
    )
    report = status_of(observed, outcome, settings)
    return Plan(
        objects=tuple(children),
        deletes=tuple((DEPLOYMENTS, deployment_name(observed.name, revision)) for revision in deletes),
        status=report.status.to_dict(),
        requeue_after=_next_look(observed, decision),
        event=Event(report.severity, report.reason, report.message),
    )


def _wanted(observed: Observed, settings: Settings) -> Wanted | None:
    artifact = observed.resolution.artifact
    if artifact is None:
        return None
    return Wanted(
        namespace=observed.namespace,
        name=observed.name,
        spec=observed.spec,
        artifact=artifact,
        settings=settings,
    )


def _decide(observed: Observed, wanted: Wanted | None) -> _Decision | None:
    replicas, now = observed.spec.replicas, observed.now
    revision = _seen_or_startable(observed, wanted) if wanted else None
    others = tuple(one for one in observed.revisions if revision is None or one.name != revision.name)
    rollout = aim(revision, others, replicas)
    if rollout is None:
        return None
    deadline = timedelta(seconds=observed.spec.rollout.progress_deadline_seconds)
    failure = verdict(rollout, deadline, now)
    if failure is not None and revision is not None:
        revision = replace(revision, failed=failure)
        rollout = aim(revision, others, replicas) or rollout
    return _Decision(rollout=rollout, scales=scale(rollout, now), wanted=revision)


def _seen_or_startable(observed: Observed, wanted: Wanted) -> Revision | None:
    """Return the wanted revision; None while it is not there and its pods could not fetch the model."""
    name = revision_name(wanted)
    for revision in observed.revisions:
        if revision.name == name:
            return revision
    if observed.resolution.refused or observed.resolution.problem:
        return None
    return Revision(name=name, created=observed.now, model=wanted.model, wanted=0, ready=0)


def _deployments(observed: Observed, wanted: Wanted | None, decision: _Decision) -> list[dict[str, Any]]:
    """Return the wanted revision's Deployment, and those of other revisions whose replicas change."""
    children = []
    for revision in (decision.rollout.target, *decision.rollout.others):
        replicas = decision.scales[revision.name]
        live = observed.deployments.get(revision.name)
        changes = _scaling(revision, replicas, observed.now) if live else {}
        if wanted is not None and decision.wanted is not None and revision.name == decision.wanted.name:
            annotations = {**_history(decision.wanted, decision.rollout), **changes}
            children.append(deployment(wanted, replicas=replicas, annotations=annotations, live=live))
        elif live is not None and changes:
            children.append(rescaled(live, replicas=replicas, annotations=changes))
    return children


def _scaling(revision: Revision, replicas: int, now: datetime) -> dict[str, str]:
    """Return what is noted of a change of replicas: also what makes the applied manifest differ after a drift."""
    if replicas == revision.wanted:
        return {}
    moment = _stamp(now)
    return {SCALED_ANNOTATION: moment, **({RAISED_ANNOTATION: moment} if replicas > revision.wanted else {})}


def _history(revision: Revision, rollout: Rollout) -> dict[str, str]:
    notes: dict[str, str] = {}
    if revision.scaled_at is not None:
        notes[SCALED_ANNOTATION] = _stamp(revision.scaled_at)
    if revision.raised_at is not None:
        notes[RAISED_ANNOTATION] = _stamp(revision.raised_at)
    fully = rollout.complete and rollout.replicas > 0 and not rollout.returning
    if revision.served or fully:
        notes[SERVED_ANNOTATION] = "true"
    if revision.failed is not None:
        notes[FAILED_ANNOTATION] = _noted(revision.failed)
    return notes


def _noted(problem: Problem) -> str:
    return json.dumps({"reason": problem.reason, "message": problem.message})


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _next_look(observed: Observed, decision: _Decision | None) -> float | None:
    """Return seconds until something is due that no event tells of."""
    resolution, now = observed.resolution, observed.now
    due: list[float] = []
    if resolution.refused or (resolution.problem and not resolution.waits):
        due.append(_patience(observed))
    if any(pod.get("status", {}).get("phase") == "Running" for pod in observed.pods):
        due.append(report_interval(observed.pods))
    if decision is not None:
        target = decision.rollout.target
        if target.starved_since is not None and not target.starved(now):
            due.append(_seconds(target.starved_since + SURGE_GRACE - now))
        if not decision.rollout.complete and not target.served:
            deadline = timedelta(seconds=observed.spec.rollout.progress_deadline_seconds)
            left = _seconds(progress_at(decision.rollout) + deadline - now)
            due.append(left if left > 0 else LONGEST_WAIT_SECONDS)
    return min(due, default=None)


def _seconds(span: timedelta) -> float:
    return max(0.1, span.total_seconds())


def _patience(observed: Observed) -> float:
    """Return a wait that grows with the time since the problem came up: 5 s to 60 s."""
    since = min(
        (
            datetime.fromisoformat(condition.last_transition_time)
            for condition in observed.status.conditions
            if (condition.type, condition.status) in _TROUBLES
        ),
        default=observed.now,
    )
    age = (observed.now - since).total_seconds()
    return min(LONGEST_WAIT_SECONDS, max(SHORTEST_WAIT_SECONDS, age / 4))
