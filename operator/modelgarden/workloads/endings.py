"""How a pod ended, in the terms of the conditions.

A pod's termination message is the user's image speaking. It is believed where it fits the contract; else the exit
code, the kubelet and the pod's conditions tell what happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelgarden.api import names
from modelgarden.api.conditions import REASONS, Problem
from modelgarden.api.documents import OPERATOR, DocumentError, NewerDocument
from modelgarden.api.messages import clean
from modelgarden.api.pods import TerminationMessage

COMPLETED: Final = "Completed"
TERMINATED: Final = "Terminated"

_BELIEVED: Final = frozenset(
    {
        "AccessDenied", "ArtifactInvalid", "BucketNotFound", "DatasetInvalid", "DatasetNotFound",
        "Diverged", "InvalidConfiguration", "ModelInvalid", "ModelNotFound", "OutOfMemory", "PeerLost", "PeersMissing",
        "RewardFailed", "SecretInvalid", "Stalled", "StorageUnavailable", "UpgradeNeeded",
    }
)  # fmt: skip
"""Reasons that a pod may give for its end."""


@dataclass(frozen=True)
class Program:
    """What the one container of a Job's pods is called, and how its failures are told."""

    container: str
    failure: str
    """Reason of the closed list for an end that has no better one."""
    memory_advice: str
    """What to do about too little memory."""


@dataclass(frozen=True)
class Ending:
    """How a pod ended."""

    reason: str
    """Of the closed list for a failure; else Completed, Terminated or the reason of a disruption."""
    message: str
    exit_code: int | None = None
    said: TerminationMessage | None = None
    disrupted: bool = False
    """The pod had the condition DisruptionTarget, whoever set it."""

    @property
    def failed(self) -> bool:
        """It did not end well."""
        return self.reason != COMPLETED

    def problem(self, program: Program) -> Problem:
        """Return it as a problem with a reason of the closed list."""
        return Problem(self.reason if self.reason in REASONS else program.failure, self.message)


def ended(pod: Mapping[str, Any]) -> bool:
    """Tell whether no container of the pod will run again."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def container_statuses(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the statuses of init containers, then of containers."""
    status = pod.get("status", {})
    yield from status.get("initContainerStatuses", [])
    yield from status.get("containerStatuses", [])


def termination_message(terminated: Mapping[str, Any]) -> TerminationMessage | None:
    """Return what a container left at its end, or None where it left nothing that can be read."""
    try:
        return TerminationMessage.read(terminated.get("message") or "", reader=OPERATOR)
    except NewerDocument as error:
        return TerminationMessage(reason="UpgradeNeeded", message=f"What it left cannot be read. {error}")
    except DocumentError:
        return None


def disruption_of(pod: Mapping[str, Any]) -> str | None:
    """Return the reason of the condition DisruptionTarget: the pod is being evicted, preempted or deleted."""
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            return str(condition.get("reason") or "Disrupted")[:64]
    return None


def _words_of_disruption(pod: Mapping[str, Any]) -> str:
    """Return what was said by whoever ended a pod that has left no word itself."""
    status = pod.get("status", {})
    said = [one.get("message") for one in status.get("conditions", []) if one["type"] == "DisruptionTarget"]
    return clean(status.get("message") or next(filter(None, said), "")) or "It was disrupted."


def ending_of(pod: Mapping[str, Any], terminated: Mapping[str, Any], program: Program) -> Ending | None:
    """Return how a pod ended, `terminated` being the state of its container; None while it has not."""
    if not terminated:
        return _without_container(pod, program) if ended(pod) else None
    code = terminated.get("exitCode")
    said = termination_message(terminated)
    told = said.message if said is not None else clean(terminated.get("message") or "")
    if code == names.EXIT_DONE:
        return Ending(COMPLETED, told or "It ended well.", code, said)
    if terminated.get("reason") == "OOMKilled":
        return Ending("OutOfMemory", _out_of_memory(pod, program), code, said)
    disruption = disruption_of(pod)
    if disruption is not None:
        return Ending(disruption, told or _words_of_disruption(pod), code, said, disrupted=True)
    if code == names.EXIT_TERMINATED:
        return Ending(TERMINATED, told or "It was stopped by SIGTERM.", code, said)
    # Where the input is wrong the pod's own words say all; of a crash there is more to say than the pod does.
    believed = _BELIEVED | {program.failure} if code == names.EXIT_USER_ERROR else _BELIEVED
    if said is not None and said.reason in believed:
        return Ending(said.reason, told, code, said)
    if code == names.EXIT_TEMPORARY:
        return Ending("StorageUnavailable", told or "Storage or network is unavailable.", code, said)
    where = f"see kubectl logs {pod['metadata']['name']}"
    message = f"The container {program.container} ended with exit code {code}{f' ({told})' if told else ''}; {where}."
    return Ending(program.failure, message, code, said)


def _without_container(pod: Mapping[str, Any], program: Program) -> Ending:
    """Return the end of a pod whose container left nothing: the node refused, evicted or lost it."""
    status = pod.get("status", {})
    if status.get("phase") == "Succeeded":
        return Ending(COMPLETED, "It ended well.")
    disruption = disruption_of(pod)
    reason = str(disruption or status.get("reason") or program.failure)[:64]
    words = clean(status.get("message") or "") or "The node ended the pod."
    return Ending(reason, words, disrupted=disruption is not None)


def _out_of_memory(pod: Mapping[str, Any], program: Program) -> str:
    containers = pod.get("spec", {}).get("containers", [])
    limits = [
        one.get("resources", {}).get("limits", {}) for one in containers if one["name"] == program.container
    ]
    limit = limits[0].get("memory") if limits else None
    return (
        f"The container {program.container} was killed because it reached its memory limit of "
        f"{limit or 'the node'}. {program.memory_advice}"
    )
