"""The status of a ModelDeployment: conditions as the contract, phase as their summary. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

from modelgarden.api import conditions as c
from modelgarden.api.conditions import Problem
from modelgarden.api.modeldeployment import (
    ModelDeploymentStatus,
    Phase,
    RevisionStatus,
    ServedArtifact,
    ServingCarbon,
)
from modelgarden.carbon.factors import carbon_factors
from modelgarden.controller.conditions import Finding, conditions
from modelgarden.controller.plan import Event
from modelgarden.serving.carbon import account, with_factors
from modelgarden.serving.decision import Decision, ServingView, deadline_of
from modelgarden.serving.manifests import deployment_name, selector, url
from modelgarden.serving.observation import due_reports, unended
from modelgarden.serving.rollout import Revision, Rollout, overdue

ORDER: Final = (c.ACCEPTED, c.MODEL_RESOLVED, c.READY, c.PROGRESSING, c.DEGRADED)
MOST_REVISIONS: Final = 10
_MESSAGE_BYTES: Final = 2048
_REVISION_MESSAGE_LENGTH: Final = 1024


def status_of(view: ServingView, decision: Decision) -> tuple[ModelDeploymentStatus, Event]:
    """Return the whole status, and the event that tells a person of it."""
    subject, seen = view.subject, view.seen
    answering = _answering(view, decision)
    findings = (
        _accepted(view),
        _resolved(view),
        _ready(view, answering),
        _progressing(view, decision),
        _degraded(view, decision),
    )
    phase = _phase(view, decision, {finding.type: finding for finding in findings})
    leading = _leading(phase, findings)
    status = ModelDeploymentStatus(
        phase=phase,
        conditions=conditions(
            subject.status.conditions,
            findings,
            order=ORDER,
            generation=subject.generation,
            now=view.now,
            message_bytes=_MESSAGE_BYTES,
        ),
        observed_generation=subject.generation,
        url=url(subject.namespace, subject.name, view.settings),
        served_model_name=subject.served_name,
        artifact=_artifact(view),
        replicas=sum(_existing(view, revision) for revision in seen.revisions),
        ready_replicas=answering,
        selector=selector(subject.name),
        revisions=_revisions(view, decision),
        carbon=_carbon(view),
    )
    bad = phase in ("Blocked", "Degraded")
    return status, Event("Warning" if bad else "Normal", leading.reason, leading.message)


def blocked_by(
    refused: Problem, status: ModelDeploymentStatus, *, generation: int, now: datetime
) -> ModelDeploymentStatus:
    """Return the status of a resource that cannot be read, everything else as it was."""
    finding = Finding.against(c.ACCEPTED, refused)
    found = conditions(status.conditions, (finding,), order=ORDER, generation=generation, now=now)
    fields = {"phase": "Blocked", "conditions": found, "observed_generation": generation}
    return status.model_copy(update=fields)


def _answering(view: ServingView, decision: Decision) -> int:
    """Return how many replicas answer for the wanted model: an earlier revision counts where only its engine differs.

    While one takes the place of another both may answer; that makes no more replicas than are wanted.
    """
    model = decision.model.model if decision.model else None
    ready = sum(one.counted for one in view.seen.revisions if model and one.model == model)
    return min(ready, view.subject.spec.replicas)


def _accepted(view: ServingView) -> Finding:
    refused = view.seen.resolution.refused
    if refused is not None:
        return Finding(c.ACCEPTED, False, refused.reason, refused.message)
    return Finding(c.ACCEPTED, True, "Accepted", "The spec is valid.")


def _resolved(view: ServingView) -> Finding:
    resolution = view.seen.resolution
    problem = resolution.refused or resolution.problem
    if resolution.artifact is None and problem is not None:
        return Finding(c.MODEL_RESOLVED, False, problem.reason, problem.message)
    said = resolution.message or "The artifact that was found before is served."
    return Finding(c.MODEL_RESOLVED, True, "Resolved", said)


def _ready(view: ServingView, answering: int) -> Finding:
    replicas = view.subject.spec.replicas
    if replicas == 0 and not answering:
        return Finding(c.READY, False, "ScaledToZero", "spec.replicas is 0; raise it to serve.")
    if answering:
        said = f"{answering} of {replicas} replicas answer for the wanted model."
        return Finding(c.READY, True, "Serving", said)
    said = "No replica answers for the wanted model."
    earlier = sum(revision.counted for revision in view.seen.revisions)
    if earlier:
        said += f" {earlier} of an earlier one answer meanwhile."
    return Finding(c.READY, False, "NotServing", said)


def _progressing(view: ServingView, decision: Decision) -> Finding:
    resolution, rollout = view.seen.resolution, decision.rollout
    problem = resolution.refused or resolution.problem
    if decision.wanted is None and problem is not None:
        return Finding(c.PROGRESSING, False, problem.reason, problem.message)
    failure = decision.wanted.failed if decision.wanted else None
    if rollout is None or (failure is not None and rollout.returning and rollout.complete):
        reason, said = (failure.reason, failure.message) if failure else ("RolledOut", "Nothing to roll out.")
        return Finding(c.PROGRESSING, False, reason, said)
    target = rollout.target
    if rollout.complete:
        said = f"Revision {target.name} has all {rollout.replicas} replicas."
        return Finding(c.PROGRESSING, False, "RolledOut", said)
    ready = min(target.counted, rollout.replicas)
    said = f"Revision {target.name}: {ready} of {rollout.replicas} replicas are ready."
    if rollout.returning:
        said = f"Returning to it. {said}"
    if target.holdup is not None:
        said += f" {target.holdup}"
    late = overdue(rollout, deadline_of(view), view.now)
    if late is not None and not rollout.returning:
        return Finding(c.PROGRESSING, False, late.reason, late.message)
    return Finding(c.PROGRESSING, True, "RollingOut", said)


def _degraded(view: ServingView, decision: Decision) -> Finding:
    found = _trouble(view, decision)
    if found is None:
        return Finding(c.DEGRADED, False, "Healthy", "Nothing is wrong.")
    return Finding(c.DEGRADED, True, found.reason, found.message)


def _trouble(view: ServingView, decision: Decision) -> Problem | None:
    resolution, rollout = view.seen.resolution, decision.rollout
    if decision.wanted is not None and decision.wanted.failed is not None:
        failed = decision.wanted.failed
        said = (
            f"Revision {decision.wanted.name} was rolled back: {failed.message} Correct the spec, or delete Deployment "
            f"{deployment_name(view.subject.name, decision.wanted.name)} to try the same again."
        )
        return Problem(failed.reason, said)
    problem = rollout.target.problem if rollout is not None and not rollout.complete else None
    if problem is not None and not _makes_room(problem, rollout):
        return problem
    if rollout is not None and not rollout.returning:
        late = overdue(rollout, deadline_of(view), view.now)
        if late is not None:
            return late
    blocked = resolution.refused or resolution.problem
    if resolution.artifact is not None and blocked is not None:
        said = f"{blocked.message} Running pods go on; new ones cannot fetch the model."
        return Problem(blocked.reason, said)
    return None


def _makes_room(problem: Problem, rollout: Rollout | None) -> bool:
    """Having no room beside the old pods is how a rollout without surge goes on, and no trouble."""
    return (
        problem.reason == "Unschedulable"
        and rollout is not None
        and any(other.held for other in rollout.others)
    )


def _phase(view: ServingView, decision: Decision, findings: Mapping[str, Finding]) -> Phase:
    resolution, rollout = view.seen.resolution, decision.rollout
    if not findings[c.ACCEPTED].holds:
        return "Blocked"
    if not findings[c.MODEL_RESOLVED].holds:
        return "Pending" if resolution.waits else "Blocked"
    if findings[c.DEGRADED].holds:
        return "Degraded"
    if rollout is None or (findings[c.PROGRESSING].holds and not _only_scaling(rollout)):
        return "RollingOut"
    if findings[c.READY].reason == "ScaledToZero":
        return "ScaledToZero"
    return "Ready" if findings[c.READY].holds else "RollingOut"


def _only_scaling(rollout: Rollout) -> bool:
    """A pod more or less of a revision that serves is no rollout."""
    return rollout.target.served and not rollout.returning and not any(o.wanted for o in rollout.others)


def _leading(phase: Phase, findings: tuple[Finding, ...]) -> Finding:
    accepted, resolved, ready, progressing, degraded = findings
    if phase == "Blocked":
        return accepted if not accepted.holds else resolved
    if phase == "Pending":
        return resolved
    if phase == "Degraded":
        return degraded
    return progressing if phase == "RollingOut" else ready


def _artifact(view: ServingView) -> ServedArtifact | None:
    """Return what is to be served; while it is not known, what the running pods were made of."""
    return view.seen.resolution.artifact or view.subject.status.artifact


def _existing(view: ServingView, revision: Revision) -> int:
    live = view.seen.deployments.get(revision.name, {})
    replicas: int = live.get("status", {}).get("replicas", 0)
    return replicas


def _revisions(view: ServingView, decision: Decision) -> tuple[RevisionStatus, ...]:
    known = {revision.name: revision for revision in view.seen.revisions}
    if decision.wanted is not None:
        known[decision.wanted.name] = decision.wanted
    newest_first = sorted(known.values(), key=lambda one: (one.created, one.name), reverse=True)
    return tuple(
        RevisionStatus(
            name=revision.name,
            state=_state(revision, decision.rollout),
            replicas=decision.scales.get(revision.name, revision.wanted),
            ready_replicas=revision.counted,
            message=revision.failed.message[:_REVISION_MESSAGE_LENGTH] if revision.failed else None,
        )
        for revision in newest_first[:MOST_REVISIONS]
    )


def _state(
    revision: Revision, rollout: Rollout | None
) -> Literal["Progressing", "Active", "Retiring", "Failed"]:
    if revision.failed is not None:
        return "Failed"
    if rollout is not None and revision.name == rollout.target.name:
        return "Active" if revision.served or (rollout.complete and rollout.replicas > 0) else "Progressing"
    return "Retiring"


def _carbon(view: ServingView) -> ServingCarbon | None:
    carbon = view.subject.status.carbon
    if view.seen.reports is not None:
        due = due_reports(view.seen.pods, view.now)
        carbon = account(carbon, view.seen.reports, live=unended(view.seen.pods), due=due)
    return with_factors(carbon, carbon_factors(view.subject.spec.carbon, view.settings)) if carbon else None
