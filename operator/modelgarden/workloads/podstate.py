"""What keeps a pod from running, in the terms of the conditions: read from its status, pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from modelgarden.api.names import EXIT_USER_ERROR
from modelgarden.api.pods import TerminationMessage

_IMAGE_REASONS: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_CONFIG_REASONS: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
_MESSAGE_LENGTH: Final = 1024


@dataclass(frozen=True)
class PodProblem:
    """Why a pod does not run, with a reason of the closed list."""

    reason: str
    message: str
    exit_code: int | None = None

    @property
    def user_error(self) -> bool:
        """The pod's program says that its input is wrong: trying again does not help."""
        return self.exit_code == EXIT_USER_ERROR


def ended(pod: Mapping[str, Any]) -> bool:
    """Tell whether no container of the pod will run again."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def pod_problem(pod: Mapping[str, Any]) -> PodProblem | None:
    """Return what keeps a pod from running: its place, its image, or how its container last ended."""
    name = pod["metadata"]["name"]
    unscheduled = scheduling_condition(pod)
    if unscheduled is not None and unscheduled.get("reason") in ("Unschedulable", "SchedulingGated"):
        message = unscheduled.get("message") or "waits for admission to a queue"
        return PodProblem("Unschedulable", f"Pod {name}: {message}"[:_MESSAGE_LENGTH])
    for status in container_statuses(pod):
        found = _container_problem(name, status)
        if found is not None:
            return found
    if pod.get("status", {}).get("phase") == "Failed":
        said = pod["status"].get("message") or pod["status"].get("reason") or "it failed"
        return PodProblem("PodsFailing", f"Pod {name}: {said}"[:_MESSAGE_LENGTH])
    return None


def scheduling_condition(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the pod's condition PodScheduled while it is False."""
    return next(
        (
            condition
            for condition in pod.get("status", {}).get("conditions", [])
            if condition["type"] == "PodScheduled" and condition["status"] == "False"
        ),
        None,
    )


def container_statuses(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the statuses of init containers, then of containers."""
    status = pod.get("status", {})
    yield from status.get("initContainerStatuses", [])
    yield from status.get("containerStatuses", [])


def termination_message(terminated: Mapping[str, Any]) -> TerminationMessage | None:
    """Return what a container left at its end, or None where it left nothing that can be read."""
    try:
        return TerminationMessage.model_validate_json(terminated.get("message") or "")
    except ValidationError:
        return None


def _container_problem(pod: str, status: Mapping[str, Any]) -> PodProblem | None:
    waiting = status.get("state", {}).get("waiting", {})
    if waiting.get("reason") in _IMAGE_REASONS:
        said = waiting.get("message") or waiting["reason"]
        return PodProblem("ImagePullFailed", f"Pod {pod}, image {status['image']}: {said}"[:_MESSAGE_LENGTH])
    if waiting.get("reason") in _CONFIG_REASONS:
        said = waiting.get("message") or waiting["reason"]
        return PodProblem("PodsFailing", f"Pod {pod}: {said}"[:_MESSAGE_LENGTH])
    ended = status.get("state", {}).get("terminated") or status.get("lastState", {}).get("terminated")
    if not ended or not ended.get("exitCode") or status.get("ready"):
        return None
    return PodProblem(
        "PodsFailing", f"Pod {pod}: {_ending(status['name'], ended)}"[:_MESSAGE_LENGTH], ended["exitCode"]
    )


def _ending(container: str, ended: Mapping[str, Any]) -> str:
    code = ended["exitCode"]
    if ended.get("reason") == "OOMKilled":
        return f"{container} was killed because it reached its memory limit; raise resources.memory."
    said = termination_message(ended)
    if said is not None:
        return f"{said.reason}: {said.message}"
    return f"{container} ended with exit code {code}; see its log."
