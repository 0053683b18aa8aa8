"""The rollout as it is to go on: what is wanted, where the pods are going, and how many each revision has. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from modelgarden.controller.view import View
from modelgarden.serving.observation import Observation
from modelgarden.serving.revision import revision_name
from modelgarden.serving.rollout import Revision, Rollout, aim, scale, verdict
from modelgarden.serving.subject import Subject
from modelgarden.serving.template import Wanted

ServingView = View[Subject, Observation]


@dataclass(frozen=True)
class Decision:
    """What was decided."""

    model: Wanted | None = None
    """What is to be served, where it is known."""
    wanted: Revision | None = None
    """Its revision; None while it is not there and its pods could not fetch the model."""
    rollout: Rollout | None = None
    """None while there is nothing at all to roll out."""
    scales: Mapping[str, int] = field(default_factory=dict)
    """Replicas that each revision should have now."""


def deadline_of(view: ServingView) -> timedelta:
    """Return how long a revision may make no progress."""
    return timedelta(seconds=view.subject.spec.rollout.progress_deadline_seconds)


def decide(view: ServingView) -> Decision:
    """Decide how the rollout goes on."""
    seen, replicas, now = view.seen, view.subject.spec.replicas, view.now
    model = _wanted(view)
    revision = _seen_or_startable(view, model) if model else None
    others = tuple(one for one in seen.revisions if revision is None or one.name != revision.name)
    rollout = aim(revision, others, replicas)
    if rollout is None:
        return Decision(model=model)
    failure = verdict(rollout, deadline_of(view), now)
    if failure is not None and revision is not None:
        revision = replace(revision, failed=failure)
        rollout = aim(revision, others, replicas) or rollout
    return Decision(model=model, wanted=revision, rollout=rollout, scales=scale(rollout, now))


def _wanted(view: ServingView) -> Wanted | None:
    artifact = view.seen.resolution.artifact
    if artifact is None:
        return None
    return Wanted(
        namespace=view.subject.namespace,
        name=view.subject.name,
        spec=view.subject.spec,
        artifact=artifact,
        settings=view.settings,
    )


def _seen_or_startable(view: ServingView, model: Wanted) -> Revision | None:
    name = revision_name(model, view.seen.deployments)
    for revision in view.seen.revisions:
        if revision.name == name:
            return revision
    if view.seen.resolution.refused or view.seen.resolution.problem:
        return None
    return Revision(name=name, created=view.now, model=model.model, wanted=0, ready=0)
