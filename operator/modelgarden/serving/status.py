"""The status of a ModelDeployment: conditions as the contract, phase as their summary. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
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
from modelgarden.serving.carbon import account, with_factors
from modelgarden.serving.manifests import deployment_name, selector, url
from modelgarden.serving.observe import Observed, due_reports, unended
from modelgarden.serving.rollout import Revision, Rollout, overdue
from modelgarden.settings import Settings

MOST_REVISIONS: Final = 10
_MESSAGE_LENGTH: Final = 4096
_REVISION_MESSAGE_LENGTH: Final = 1024


@dataclass(frozen=True)
class Outcome:
    """What was decided."""

    rollout: Rollout | None
    scales: Mapping[str, int]
    wanted: Revision | None
    model: str | None
    """Identity of the model that is to be served, where it is known."""


@dataclass(frozen=True)
class Report:
    """The status, and what an event says of it."""

    status: ModelDeploymentStatus
    severity: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class _Finding:
    """One condition before it has its times."""

    type: str
    holds: bool
    reason: str
    message: str


def status_of(observed: Observed, outcome: Outcome, settings: Settings) -> Report:
    """Return the whole status, and the line that tells a person of it."""
    answering = _answering(observed, outcome)
    findings = (
        _accepted(observed),
        _resolved(observed),
        _ready(observed, outcome, answering),
        _progressing(observed, outcome),
        _degraded(observed, outcome),
    )
    phase = _phase(observed, outcome, {finding.type: finding for finding in findings})
    leading = _leading(phase, findings)
    status = ModelDeploymentStatus(
        phase=phase,
        conditions=c.settled(
            (_condition(observed, finding) for finding in findings), observed.status.conditions
        ),
        observed_generation=observed.generation,
        url=url(observed.namespace, observed.name, settings),
        served_model_name=observed.spec.served_model_name or observed.name,
        artifact=_artifact(observed),
        replicas=sum(_existing(observed, revision) for revision in observed.revisions),
        ready_replicas=answering,
        selector=selector(observed.name),
        revisions=_revisions(observed, outcome),
        carbon=_carbon(observed, settings),
    )
    severity: Literal["Normal", "Warning"] = "Warning" if phase in ("Blocked", "Degraded") else "Normal"
    return Report(status=status, severity=severity, reason=leading.reason, message=leading.message)


def _condition(observed: Observed, finding: _Finding) -> c.Condition:
    return c.Condition(
        type=finding.type,
        status="True" if finding.holds else "False",
        reason=finding.reason,
        message=finding.message[:_MESSAGE_LENGTH],
        observed_generation=observed.generation,
        last_transition_time=observed.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _answering(observed: Observed, outcome: Outcome) -> int:
    """Return how many pods answer for the wanted model: an earlier revision counts where only its engine differs."""
    return sum(one.counted for one in observed.revisions if outcome.model and one.model == outcome.model)


def _accepted(observed: Observed) -> _Finding:
    refused = observed.resolution.refused
    if refused is not None:
        return _Finding(c.ACCEPTED, False, refused.reason, refused.message)
    return _Finding(c.ACCEPTED, True, "Accepted", "The spec is valid.")


def _resolved(observed: Observed) -> _Finding:
    resolution = observed.resolution
    problem = resolution.refused or resolution.problem
    if resolution.artifact is None and problem is not None:
        return _Finding(c.MODEL_RESOLVED, False, problem.reason, problem.message)
    said = resolution.message or "The artifact that was found before is served."
    return _Finding(c.MODEL_RESOLVED, True, "Resolved", said)


def _ready(observed: Observed, outcome: Outcome, answering: int) -> _Finding:
    replicas = observed.spec.replicas
    if replicas == 0 and not answering:
        return _Finding(c.READY, False, "ScaledToZero", "spec.replicas is 0; raise it to serve.")
    if answering:
        said = f"{answering} of {replicas} replicas answer for the wanted model."
        return _Finding(c.READY, True, "Serving", said)
    said = "No replica answers for the wanted model."
    earlier = sum(revision.counted for revision in observed.revisions)
    if earlier:
        said += f" {earlier} of an earlier one answer meanwhile."
    return _Finding(c.READY, False, "NotServing", said)


def _progressing(observed: Observed, outcome: Outcome) -> _Finding:
    resolution, rollout = observed.resolution, outcome.rollout
    problem = resolution.refused or resolution.problem
    if outcome.wanted is None and problem is not None:
        return _Finding(c.PROGRESSING, False, problem.reason, problem.message)
    failure = outcome.wanted.failed if outcome.wanted else None
    if rollout is None or (failure is not None and rollout.returning and rollout.complete):
        reason, said = (failure.reason, failure.message) if failure else ("RolledOut", "Nothing to roll out.")
        return _Finding(c.PROGRESSING, False, reason, said)
    target = rollout.target
    if rollout.complete:
        said = f"Revision {target.name} has all {rollout.replicas} replicas."
        return _Finding(c.PROGRESSING, False, "RolledOut", said)
    said = f"Revision {target.name}: {target.counted} of {rollout.replicas} replicas are ready."
    if rollout.returning:
        said = f"Returning to it. {said}"
    if target.problem is not None:
        said += f" {target.problem.message}"
    late = overdue(rollout, _deadline(observed), observed.now)
    if late is not None and not rollout.returning:
        return _Finding(c.PROGRESSING, False, late.reason, late.message)
    return _Finding(c.PROGRESSING, True, "RollingOut", said)


def _degraded(observed: Observed, outcome: Outcome) -> _Finding:
    found = _trouble(observed, outcome)
    if found is None:
        return _Finding(c.DEGRADED, False, "Healthy", "Nothing is wrong.")
    return _Finding(c.DEGRADED, True, found.reason, found.message)


def _trouble(observed: Observed, outcome: Outcome) -> Problem | None:
    resolution, rollout = observed.resolution, outcome.rollout
    if outcome.wanted is not None and outcome.wanted.failed is not None:
        failed = outcome.wanted.failed
        said = (
            f"Revision {outcome.wanted.name} was rolled back: {failed.message} Correct the spec, or delete Deployment "
            f"{deployment_name(observed.name, outcome.wanted.name)} to try the same again."
        )
        return Problem(failed.reason, said)
    problem = rollout.target.problem if rollout is not None and not rollout.complete else None
    if problem is not None and not _makes_room(problem, rollout):
        return problem
    if rollout is not None and not rollout.returning:
        late = overdue(rollout, _deadline(observed), observed.now)
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


def _phase(observed: Observed, outcome: Outcome, findings: Mapping[str, _Finding]) -> Phase:
    resolution, rollout = observed.resolution, outcome.rollout
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


def _leading(phase: Phase, findings: tuple[_Finding, ...]) -> _Finding:
    accepted, resolved, ready, progressing, degraded = findings
    if phase == "Blocked":
        return accepted if not accepted.holds else resolved
    if phase == "Pending":
        return resolved
    if phase == "Degraded":
        return degraded
    return progressing if phase == "RollingOut" else ready


def _artifact(observed: Observed) -> ServedArtifact | None:
    """Return what is to be served; while it is not known, what the running pods were made of."""
    return observed.resolution.artifact or observed.status.artifact


def _existing(observed: Observed, revision: Revision) -> int:
    live = observed.deployments.get(revision.name, {})
    replicas: int = live.get("status", {}).get("replicas", 0)
    return replicas


def _revisions(observed: Observed, outcome: Outcome) -> tuple[RevisionStatus, ...]:
    known = {revision.name: revision for revision in observed.revisions}
    if outcome.wanted is not None:
        known[outcome.wanted.name] = outcome.wanted
    newest_first = sorted(known.values(), key=lambda one: (one.created, one.name), reverse=True)
    return tuple(
        RevisionStatus(
            name=revision.name,
            state=_state(revision, outcome.rollout),
            replicas=outcome.scales.get(revision.name, revision.wanted),
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


def _carbon(observed: Observed, settings: Settings) -> ServingCarbon | None:
    carbon = observed.status.carbon
    if observed.reports is not None:
        due = due_reports(observed.pods, observed.now)
        carbon = account(carbon, observed.reports, live=unended(observed.pods), due=due)
    return with_factors(carbon, carbon_factors(observed.spec.carbon, settings)) if carbon else None


def _deadline(observed: Observed) -> timedelta:
    return timedelta(seconds=observed.spec.rollout.progress_deadline_seconds)
