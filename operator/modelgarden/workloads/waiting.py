"""What keeps a pod from starting: its place, its image, its container. Pure readings of a pod's status."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from modelgarden.api.conditions import Problem
from modelgarden.api.messages import clean

_IMAGE_REASONS: Final = frozenset(
    {
        "ErrImageNeverPull", "ErrImagePull", "ImageInspectError", "ImagePullBackOff", "InvalidImageName",
        "RegistryUnavailable", "SignatureValidationFailed",
    }
)  # fmt: skip
_START_REASONS: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}
)

_NO_CLAIM: Final = re.compile(r'persistentvolumeclaim "([^"]+)" not found')
_STRAY_END: Final = re.compile(r"[.] not found[.]?$")
_UNBOUND: Final = "unbound immediate PersistentVolumeClaims"


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


def place_problem(pod: Mapping[str, Any]) -> Problem | None:
    """Return why no node has taken the pod, in the scheduler's words."""
    condition = scheduling_condition(pod)
    if condition is None or condition.get("reason") not in ("Unschedulable", "SchedulingGated"):
        return None
    said = _advised(condition.get("message") or "waits for admission to a queue")
    return Problem("Unschedulable", clean(f"Pod {pod['metadata']['name']}: {said}"))


def _advised(said: str) -> str:
    """Return the scheduler's words with what to do where a claim is missing, and without their stray end."""
    said = _STRAY_END.sub("", said)
    if found := _NO_CLAIM.search(said):
        return f"{said}; create the PersistentVolumeClaim {found[1]}, or a new resource that names another"
    if _UNBOUND in said:
        return f"{said}; see what kubectl describe persistentvolumeclaim says"
    return said


def unscheduled_since(pod: Mapping[str, Any]) -> datetime | None:
    """Return when the scheduler first found no place for the pod."""
    condition = scheduling_condition(pod)
    since = condition.get("lastTransitionTime") if condition is not None else None
    return datetime.fromisoformat(since) if since else None


def start_problem(pod: Mapping[str, Any], container: Mapping[str, Any]) -> Problem | None:
    """Return why a container, given by its status, does not start: its image, or what the kubelet says of it."""
    waiting = container.get("state", {}).get("waiting", {})
    reason, name = waiting.get("reason"), pod["metadata"]["name"]
    said = f"{reason}: {waiting['message']}" if waiting.get("message") else str(reason)
    if reason in _IMAGE_REASONS:
        return Problem("ImagePullFailed", clean(f"Pod {name}, image {_image(pod, container)}: {said}"))
    if reason in _START_REASONS:
        return Problem(_start_reason(said), clean(f"Pod {name} cannot start: {said}"))
    return None


def _image(pod: Mapping[str, Any], container: Mapping[str, Any]) -> str:
    """Return the image as the pod names it; its status may name it by another tag."""
    spec = pod.get("spec", {})
    named = (*spec.get("initContainers", ()), *spec.get("containers", ()))
    images = (one.get("image") for one in named if one["name"] == container.get("name"))
    return str(next(images, None) or container.get("image") or "unknown")


def _start_reason(said: str) -> str:
    if "secret" in said and "not found" in said:
        return "SecretNotFound"
    if "couldn't find key" in said:
        return "SecretInvalid"
    return "StartFailed"
