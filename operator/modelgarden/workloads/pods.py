"""Pods: of a Job with one container that ends, or of a Deployment whose containers start again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelgarden.api.conditions import Problem
from modelgarden.api.messages import clean
from modelgarden.api.names import EXIT_USER_ERROR
from modelgarden.workloads.endings import (
    Ending,
    Program,
    container_statuses,
    disruption_of,
    ending_of,
    termination_message,
)
from modelgarden.workloads.waiting import place_problem, start_problem, unscheduled_since


@dataclass(frozen=True)
class PodState:
    """One pod of a Job."""

    name: str
    uid: str
    created_at: datetime | None
    started_at: str | None
    """When its container started."""
    ended_at: str | None
    deleted_at: datetime | None
    """When its time to end by itself is over, where it is being deleted."""
    ending: Ending | None
    disruption: str | None
    """Reason of the condition DisruptionTarget: the pod is being evicted, preempted or deleted."""
    waiting: Problem | None
    """What keeps it from starting."""
    waiting_since: datetime | None
    """When the scheduler first found no place for it."""
    image_id: str | None
    body: Mapping[str, Any]

    @property
    def running(self) -> bool:
        """Its container runs."""
        return self.started_at is not None and self.ending is None


def pod_state(pod: Mapping[str, Any], program: Program) -> PodState:
    """Read a pod of a Job."""
    status, metadata = pod.get("status", {}), pod["metadata"]
    containers = {one["name"]: one for one in status.get("containerStatuses", [])}
    container: Mapping[str, Any] = containers.get(program.container, {})
    state = container.get("state", {})
    terminated: Mapping[str, Any] = state.get("terminated", {})
    pending = status.get("phase") == "Pending"
    created, deleted = metadata.get("creationTimestamp"), metadata.get("deletionTimestamp")
    return PodState(
        name=metadata["name"],
        uid=metadata["uid"],
        created_at=datetime.fromisoformat(created) if created else None,
        started_at=terminated.get("startedAt") or state.get("running", {}).get("startedAt"),
        ended_at=terminated.get("finishedAt") or deleted,
        deleted_at=datetime.fromisoformat(deleted) if deleted else None,
        ending=ending_of(pod, terminated, program),
        disruption=disruption_of(pod),
        waiting=(place_problem(pod) or start_problem(pod, container)) if pending else None,
        waiting_since=unscheduled_since(pod),
        image_id=container.get("imageID") or None,
        body=pod,
    )


def trouble_of(pod: Mapping[str, Any]) -> Problem | None:
    """Return what keeps a pod of a Deployment from running: its place, its image, or how a container last ended.

    What is not its place or its image is PodsFailing, as such a pod tries again for ever.
    """
    place = place_problem(pod)
    if place is not None:
        return place
    for container in container_statuses(pod):
        found = start_problem(pod, container)
        if found is not None:
            return found if found.reason == "ImagePullFailed" else Problem("PodsFailing", found.message)
        crash = _crash(pod, container)
        if crash is not None:
            return crash
    status = pod.get("status", {})
    if status.get("phase") != "Failed":
        return None
    said = status.get("message") or status.get("reason") or "it failed"
    return Problem("PodsFailing", clean(f"Pod {pod['metadata']['name']}: {said}"))


def _crash(pod: Mapping[str, Any], container: Mapping[str, Any]) -> Problem | None:
    """Return how a container that is not ready last ended."""
    terminated = container.get("state", {}).get("terminated") or container.get("lastState", {}).get(
        "terminated"
    )
    if not terminated or not terminated.get("exitCode") or container.get("ready"):
        return None
    code = terminated["exitCode"]
    message = clean(f"Pod {pod['metadata']['name']}: {_end_of(container['name'], terminated)}")
    return Problem("PodsFailing", message, permanent=code == EXIT_USER_ERROR)


def _end_of(container: str, terminated: Mapping[str, Any]) -> str:
    if terminated.get("reason") == "OOMKilled":
        return f"{container} was killed because it reached its memory limit; raise resources.memory."
    said = termination_message(terminated)
    if said is not None:
        return f"{said.reason}: {said.message}"
    return f"{container} ended with exit code {terminated['exitCode']}; see its log."
