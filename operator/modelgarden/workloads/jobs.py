"""What a Job and its pods say, in the terms of the conditions: pure readings of API objects.

A pod's termination message is the user's image speaking. It is believed where it fits the contract; else the exit
code, the kubelet and the pod's conditions tell what happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from modelgarden.api import names
from modelgarden.api.conditions import REASONS
from modelgarden.api.messages import clean
from modelgarden.api.pods import TerminationMessage
from modelgarden.workloads.podstate import ended, scheduling_condition, termination_message

Step = Literal["prepare", "train"]
Outcome = Literal["Active", "Complete", "Failed"]

PREPARE: Final = "prepare"
TRAIN: Final = "train"

COMPLETED: Final = "Completed"
TERMINATED: Final = "Terminated"

_BELIEVED: Final = frozenset(
    {
        "AccessDenied", "ArtifactInvalid", "BucketNotFound", "DatasetInvalid", "DatasetNotFound",
        "InvalidConfiguration", "ModelInvalid", "ModelNotFound", "OutOfMemory", "SecretInvalid",
        "StorageUnavailable",
    }
)  # fmt: skip
"""Reasons that a pod may give for its end."""
_BELIEVED_OF_USERS: Final = _BELIEVED | {"PrepareFailed", "TrainingFailed"}
"""Those it may give where its input is wrong; of a crash there is more to say than the pod does."""
_OTHERWISE: Final[dict[Step, str]] = {PREPARE: "PrepareFailed", TRAIN: "TrainingFailed"}

_IMAGE_REASONS: Final = frozenset(
    {
        "ErrImageNeverPull", "ErrImagePull", "ImageInspectError", "ImagePullBackOff", "InvalidImageName",
        "RegistryUnavailable", "SignatureValidationFailed",
    }
)  # fmt: skip
_START_REASONS: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}
)


@dataclass(frozen=True)
class Problem:
    """What is wrong, with a reason of the closed list and a message that says what to do."""

    reason: str
    message: str


@dataclass(frozen=True)
class Ending:
    """How a pod ended."""

    reason: str
    """Of the closed list for a failure; else Completed, Terminated or the reason of a disruption."""
    message: str
    exit_code: int | None = None
    said: TerminationMessage | None = None

    @property
    def failed(self) -> bool:
        """It did not end well."""
        return self.reason != COMPLETED

    def problem(self, step: Step) -> Problem:
        """Return it as a problem with a reason of the closed list."""
        return Problem(self.reason if self.reason in REASONS else _OTHERWISE[step], self.message)


@dataclass(frozen=True)
class PodState:
    """One pod of a Job."""

    name: str
    uid: str
    started_at: str | None
    """When its container started."""
    ended_at: str | None
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


@dataclass(frozen=True)
class JobState:
    """One Job of a FineTuneJob, with its pods in the order of their creation."""

    body: Mapping[str, Any]
    outcome: Outcome
    failure: Problem | None
    """The Job controller's own words, for a Failed Job."""
    finished_at: datetime | None
    pods: tuple[PodState, ...]
    refusal: str | None = None
    """Why the Job controller could not make its next pod."""

    @property
    def name(self) -> str:
        """Return the Job's name."""
        return str(self.body["metadata"]["name"])

    @property
    def uid(self) -> str:
        """Return the Job's UID."""
        return str(self.body["metadata"]["uid"])

    @property
    def created_at(self) -> datetime:
        """Return when the Job was created."""
        return datetime.fromisoformat(self.body["metadata"]["creationTimestamp"])

    @property
    def suspended(self) -> bool:
        """The Job is told to run no pod, by whomever."""
        return bool(self.body["spec"].get("suspend", False))

    @property
    def suspended_by_operator(self) -> bool:
        """The operator itself suspended it, for spec.suspend."""
        return self.suspended and names.SUSPENDED_ANNOTATION in self.body["metadata"].get("annotations", {})

    @property
    def being_deleted(self) -> bool:
        """The Job waits for its deletion."""
        return "deletionTimestamp" in self.body["metadata"]

    @property
    def inputs_hash(self) -> str | None:
        """Return the fingerprint of the inputs that it was started with."""
        found: str | None = self.body["metadata"].get("annotations", {}).get(names.INPUTS_HASH_ANNOTATION)
        return found

    @property
    def image(self) -> str:
        """Return the image of its pods."""
        return str(self.body["spec"]["template"]["spec"]["containers"][0]["image"])

    @property
    def newest(self) -> PodState | None:
        """Return the newest pod."""
        return self.pods[-1] if self.pods else None

    @property
    def ending(self) -> Ending | None:
        """Return how the newest pod that has ended did so."""
        return next((pod.ending for pod in reversed(self.pods) if pod.ending is not None), None)


def job_state(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], *, step: Step) -> JobState:
    """Read a Job and its pods."""
    outcome: Outcome = "Active"
    failure = finished_at = None
    for condition in job.get("status", {}).get("conditions", []):
        if condition["status"] != "True" or condition["type"] not in ("Complete", "Failed"):
            continue
        outcome = condition["type"]
        finished_at = datetime.fromisoformat(condition["lastTransitionTime"])
        if outcome == "Failed":
            failure = Problem(condition.get("reason", ""), condition.get("message", ""))
    ordered = sorted(
        pods, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"])
    )
    return JobState(
        body=job,
        outcome=outcome,
        failure=failure,
        finished_at=finished_at,
        pods=tuple(pod_state(pod, step=step) for pod in ordered),
    )


def pod_state(pod: Mapping[str, Any], *, step: Step) -> PodState:
    """Read a pod."""
    status = pod.get("status", {})
    containers: dict[str, Mapping[str, Any]] = {
        one["name"]: one for one in status.get("containerStatuses", [])
    }
    container = containers.get(step, {})
    state = container.get("state", {})
    terminated: Mapping[str, Any] = state.get("terminated", {})
    return PodState(
        name=pod["metadata"]["name"],
        uid=pod["metadata"]["uid"],
        started_at=terminated.get("startedAt") or state.get("running", {}).get("startedAt"),
        ended_at=terminated.get("finishedAt") or pod["metadata"].get("deletionTimestamp"),
        ending=_ending(pod, terminated, step=step),
        disruption=_disruption(status),
        waiting=_waiting(pod, state.get("waiting", {})) if status.get("phase") == "Pending" else None,
        waiting_since=_unscheduled_since(pod),
        image_id=container.get("imageID") or None,
        body=pod,
    )


def _ending(pod: Mapping[str, Any], terminated: Mapping[str, Any], *, step: Step) -> Ending | None:
    status = pod.get("status", {})
    if not terminated:
        return _without_container(status, step=step) if ended(pod) else None
    code = terminated.get("exitCode")
    said = termination_message(terminated)
    told = said.message if said is not None else clean(terminated.get("message") or "")
    if code == names.EXIT_DONE:
        return Ending(COMPLETED, told or "It ended well.", code, said)
    if terminated.get("reason") == "OOMKilled":
        return Ending("OutOfMemory", _out_of_memory(pod, step=step), code, said)
    disruption = _disruption(status)
    if disruption is not None:
        return Ending(disruption, told or "It was disrupted.", code, said)
    if code == names.EXIT_TERMINATED:
        return Ending(TERMINATED, told or "It was stopped by SIGTERM.", code, said)
    if said is not None and said.reason in (
        _BELIEVED_OF_USERS if code == names.EXIT_USER_ERROR else _BELIEVED
    ):
        return Ending(said.reason, told, code, said)
    if code == names.EXIT_TEMPORARY:
        return Ending("StorageUnavailable", told or "Storage or network is unavailable.", code, said)
    where = f"see kubectl logs {pod['metadata']['name']}"
    message = f"The container {step} ended with exit code {code}{f' ({told})' if told else ''}; {where}."
    return Ending(_OTHERWISE[step], message, code, said)


def _without_container(status: Mapping[str, Any], *, step: Step) -> Ending:
    """Return the end of a pod whose container left nothing: the node refused, evicted or lost it."""
    if status.get("phase") == "Succeeded":
        return Ending(COMPLETED, "It ended well.")
    reason = _disruption(status) or status.get("reason") or _OTHERWISE[step]
    return Ending(str(reason)[:64], clean(status.get("message") or "") or "The node ended the pod.")


def _out_of_memory(pod: Mapping[str, Any], *, step: Step) -> str:
    containers = pod.get("spec", {}).get("containers", [])
    limits = [one.get("resources", {}).get("limits", {}) for one in containers if one["name"] == step]
    limit = limits[0].get("memory") if limits else None
    advice = "Raise resources.memory" if step == TRAIN else "Use a smaller dataset, or raise resources.memory"
    return (
        f"The container {step} was killed because it reached its memory limit of {limit or 'the node'}. "
        f"{advice} in a new FineTuneJob."
    )


def _disruption(status: Mapping[str, Any]) -> str | None:
    for condition in status.get("conditions", []):
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            return str(condition.get("reason") or "Disrupted")[:64]
    return None


def _waiting(pod: Mapping[str, Any], waiting: Mapping[str, Any]) -> Problem | None:
    name = pod["metadata"]["name"]
    unscheduled = scheduling_condition(pod)
    if unscheduled is not None and unscheduled.get("reason") == "Unschedulable":
        return Problem("Unschedulable", clean(f"Pod {name}: {unscheduled.get('message', '')}"))
    reason, said = waiting.get("reason"), clean(waiting.get("message") or "")
    if reason in _IMAGE_REASONS:
        images = [one.get("image") for one in pod.get("spec", {}).get("containers", [])]
        image = images[0] if images else "the image"
        return Problem("ImagePullFailed", clean(f"Pod {name}, image {image}: {reason}: {said}"))
    if reason in _START_REASONS:
        return Problem(_start_reason(said), clean(f"Pod {name} cannot start: {reason}: {said}"))
    return None


def _unscheduled_since(pod: Mapping[str, Any]) -> datetime | None:
    unscheduled = scheduling_condition(pod)
    since = unscheduled.get("lastTransitionTime") if unscheduled is not None else None
    return datetime.fromisoformat(since) if since else None


def _start_reason(said: str) -> str:
    if "secret" in said and "not found" in said:
        return "SecretNotFound"
    if "couldn't find key" in said:
        return "SecretInvalid"
    return "Pending"
