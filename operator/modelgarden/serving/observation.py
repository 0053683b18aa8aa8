"""What is seen of a ModelDeployment: its model, and its Deployments and pods as revisions. Pure readings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from modelgarden.api import names
from modelgarden.api.conditions import Problem
from modelgarden.api.pods import EngineReport, ServeReport
from modelgarden.controller.times import moment_or_none
from modelgarden.serving.engines import awaited_of, mistake_of
from modelgarden.serving.manifests import (
    FAILED_ANNOTATION,
    MODEL_ANNOTATION,
    ONE_BY_ONE,
    RAISED_ANNOTATION,
    SCALED_ANNOTATION,
    SERVED_ANNOTATION,
)
from modelgarden.serving.resolve import Resolution
from modelgarden.serving.rollout import Revision
from modelgarden.serving.template import SERVE
from modelgarden.workloads.endings import container_statuses, ended
from modelgarden.workloads.pods import trouble_of
from modelgarden.workloads.waiting import scheduling_condition

REPORT_SECONDS: Final = 30.0
"""How often pods are asked for their energy, and the status is written for that alone."""
FAREWELL_SECONDS: Final = 5.0
"""The same while a pod ends: it holds its last figures ready for a little longer than this."""
_SHORTAGES: Final = ("Insufficient ", "Too many pods")
"""What the scheduler says where another pod's end would help; a node selector that fits nowhere is not such a case."""


@dataclass(frozen=True)
class Observation:
    """What was seen of a ModelDeployment's model and children."""

    resolution: Resolution
    deployments: Mapping[str, Mapping[str, Any]]
    """Live Deployments by revision."""
    revisions: tuple[Revision, ...]
    pods: tuple[Mapping[str, Any], ...]
    reports: tuple[ServeReport, ...] | None = None
    """None when it was not yet time to ask the pods."""


@dataclass(frozen=True)
class PodsSaid:
    """What others say of pods than their status does, by the pods' UIDs."""

    stuck: Mapping[str, Problem] = field(default_factory=dict)
    """The kubelet, of pods that do not start."""
    engines: Mapping[str, EngineReport] = field(default_factory=dict)
    """The pods that run and are not ready, of their engines."""

    def trouble(self, pod: Mapping[str, Any]) -> Problem | None:
        """Return what is wrong with a pod."""
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        engine = self.engines.get(uid)
        return self.stuck.get(uid) or (mistake_of(name, engine) if engine else None)

    def awaited(self, pod: Mapping[str, Any]) -> str | None:
        """Return what a pod awaits."""
        engine = self.engines.get(pod["metadata"]["uid"])
        return awaited_of(pod["metadata"]["name"], engine) if engine else None


NOTHING_SAID: Final = PodsSaid()


def by_revision(deployments: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the Deployments that are not being deleted, by revision."""
    # By the selector, as nobody can change it.
    return {
        deployment["spec"]["selector"]["matchLabels"][names.REVISION_LABEL]: deployment
        for deployment in deployments
        if "deletionTimestamp" not in deployment["metadata"]
        and names.REVISION_LABEL in deployment["spec"]["selector"].get("matchLabels", {})
    }


def revisions_of(
    deployments: Mapping[str, Mapping[str, Any]],
    pods: Sequence[Mapping[str, Any]],
    said: PodsSaid = NOTHING_SAID,
) -> tuple[Revision, ...]:
    """Return what is seen of each revision, newest first."""
    found = [
        _revision(name, deployment, [pod for pod in pods if _revision_of(pod) == name], said)
        for name, deployment in deployments.items()
    ]
    return tuple(sorted(found, key=lambda revision: (revision.created, revision.name), reverse=True))


def pods_since(created: str, pods: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return the pods that are not older than their owner: those may still drain for an earlier one of its name."""
    return tuple(pod for pod in pods if pod["metadata"]["creationTimestamp"] >= created)


def unended(pods: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Return the UIDs of the pods that can still use energy: an evicted one lingers as Failed."""
    return frozenset(str(pod["metadata"]["uid"]) for pod in pods if not ended(pod))


def report_interval(pods: Sequence[Mapping[str, Any]]) -> float:
    """Return how many seconds lie between two questions for the pods' energy."""
    ending = any("deletionTimestamp" in pod["metadata"] for pod in pods)
    return FAREWELL_SECONDS if ending else REPORT_SECONDS


def due_reports(pods: Sequence[Mapping[str, Any]], now: datetime) -> Mapping[str, datetime]:
    """Return since when the pods run, by UID, that should have told of their energy: for more than two intervals."""
    patience = timedelta(seconds=2 * REPORT_SECONDS)
    running = {str(pod["metadata"]["uid"]): _serving_since(pod) for pod in pods}
    return {uid: since for uid, since in running.items() if since is not None and now - since > patience}


def _revision_of(pod: Mapping[str, Any]) -> str | None:
    name: str | None = pod["metadata"].get("labels", {}).get(names.REVISION_LABEL)
    return name


def _revision(
    name: str,
    deployment: Mapping[str, Any],
    pods: Sequence[Mapping[str, Any]],
    said: PodsSaid,
) -> Revision:
    metadata, status = deployment["metadata"], deployment.get("status", {})
    annotations = metadata.get("annotations", {})
    staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    starved = [_starved_since(pod) for pod in staying] + [_refused_since(deployment)]
    return Revision(
        name=name,
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        model=annotations.get(MODEL_ANNOTATION, ""),
        wanted=deployment["spec"].get("replicas", 1),
        ready=status.get("readyReplicas", 0),
        held=len(unended(pods)),
        served=annotations.get(SERVED_ANNOTATION) == "true",
        failed=_failure(annotations.get(FAILED_ANNOTATION)),
        scaled_at=moment_or_none(annotations.get(SCALED_ANNOTATION)),
        raised_at=moment_or_none(annotations.get(RAISED_ANNOTATION)),
        last_ready_at=max((at for pod in staying if (at := _ready_at(pod))), default=None),
        starved_since=min((at for at in starved if at), default=None),
        outdated=max(0, status.get("replicas", 0) - status.get("updatedReplicas", 0)),
        surges=deployment["spec"].get("strategy") != ONE_BY_ONE,
        problem=_problem(deployment, staying, said),
        awaited=next((one for pod in staying if (one := said.awaited(pod))), None),
    )


def _failure(text: str | None) -> Problem | None:
    if not text:
        return None
    try:
        value = json.loads(text)
        return Problem(reason=str(value["reason"]), message=str(value["message"]))
    except (ValueError, KeyError, TypeError):
        return Problem(reason="ProgressDeadlineExceeded", message=text)


def _problem(
    deployment: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], said: PodsSaid
) -> Problem | None:
    """Return what keeps a pod from answering: what never gets better before what may."""
    found = [problem for pod in pods if (problem := trouble_of(pod) or said.trouble(pod))]
    for problem in sorted(found, key=lambda problem: (not problem.permanent, problem.message)):
        return problem
    refused = _condition(deployment, "ReplicaFailure")
    if refused is not None:
        message = f"The API server refuses the pods of {deployment['metadata']['name']}: {refused.get('message', '')}"
        return Problem("PodsFailing", message)
    return None


def _condition(obj: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    for condition in obj.get("status", {}).get("conditions", []):
        if (condition["type"], condition["status"]) == (kind, "True"):
            return dict(condition)
    return None


def _starved_since(pod: Mapping[str, Any]) -> datetime | None:
    """Return since when a pod waits for room: on a node, or in a queue that admits pods, such as Kueue's."""
    condition = scheduling_condition(pod)
    if condition is None or pod["status"].get("nominatedNodeName"):
        return None
    if condition.get("reason") == "SchedulingGated":
        return moment_or_none(pod["metadata"].get("creationTimestamp"))
    if not any(shortage in condition.get("message", "") for shortage in _SHORTAGES):
        return None
    return moment_or_none(condition.get("lastTransitionTime"))


def _refused_since(deployment: Mapping[str, Any]) -> datetime | None:
    """Return since when a quota leaves no room for a pod more."""
    condition = _condition(deployment, "ReplicaFailure")
    if condition is None or "exceeded quota" not in condition.get("message", ""):
        return None
    return moment_or_none(condition.get("lastTransitionTime"))


def _serving_since(pod: Mapping[str, Any]) -> datetime | None:
    for status in container_statuses(pod):
        if status["name"] == SERVE:
            return moment_or_none(status.get("state", {}).get("running", {}).get("startedAt"))
    return None


def _ready_at(pod: Mapping[str, Any]) -> datetime | None:
    """Return when a pod became ready; one whose server started again does not show that the rollout gets on."""
    ready = _condition(pod, "Ready")
    restarts = sum(
        status.get("restartCount", 0) for status in container_statuses(pod) if status["name"] == SERVE
    )
    return moment_or_none(ready.get("lastTransitionTime")) if ready and not restarts else None
