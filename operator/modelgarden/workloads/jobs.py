"""A Job and its pods as one state: how far it is, and what its newest attempt does. Pure readings of API objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from modelgarden.api import names
from modelgarden.api.conditions import Problem
from modelgarden.workloads.endings import Ending, Program
from modelgarden.workloads.groups import PodGroup, groups_of
from modelgarden.workloads.pods import pod_state

JobResult = Literal["Active", "Complete", "Failed"]


@dataclass(frozen=True)
class JobState:
    """One Job of an owner, with its attempts in the order of their creation."""

    body: Mapping[str, Any]
    result: JobResult
    failure: Problem | None
    """The Job controller's own words, for a Failed Job."""
    finished_at: datetime | None
    attempts: tuple[PodGroup, ...]
    refusal: str | None = None
    """Why the Job controller could not make its next pod."""
    stuck: Problem | None = None
    """What the kubelet says of a pod that has its node and still does not start."""

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
    def held_by_a_queue(self) -> bool:
        """A queue, or whoever else is not this operator, has suspended it."""
        return self.suspended and not self.suspended_by_operator

    @property
    def queue(self) -> str | None:
        """Return the queue that decides when it runs: that of its spec, or one that Kueue chose for the namespace."""
        found: str | None = self.body["metadata"].get("labels", {}).get(names.QUEUE_LABEL)
        return found

    def taken_back_since(self, start: str | None) -> bool:
        """Tell whether a queue has suspended the Job after a moment (RFC 3339), be it admitted again or not."""
        if self.suspended:
            return self.held_by_a_queue
        if self.queue is None or start is None:
            return False
        changed = (one["lastTransitionTime"] for one in self._conditions if one["type"] == "Suspended")
        return any(datetime.fromisoformat(when) > datetime.fromisoformat(start) for when in changed)

    @property
    def _conditions(self) -> list[Mapping[str, Any]]:
        return list(self.body.get("status", {}).get("conditions", []))

    @property
    def being_deleted(self) -> bool:
        """The Job waits for its deletion."""
        return "deletionTimestamp" in self.body["metadata"]

    @property
    def unfinished(self) -> bool:
        """The Job may still run pods, and is there to stay."""
        return self.result == "Active" and not self.being_deleted

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
    def newest(self) -> PodGroup | None:
        """Return the newest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def ending(self) -> Ending | None:
        """Return how the newest attempt that has ended did so."""
        return next((one.ending for one in reversed(self.attempts) if one.ending is not None), None)

    def problem(self, program: Program) -> Problem:
        """Return why a failed Job has failed: by the word of its newest pod that has ended, else by the controller's."""
        if self.ending is not None and self.ending.failed:
            return self.ending.problem(program)
        words = self.failure.message if self.failure is not None else ""
        return Problem(
            program.failure, f"The {program.container} Job failed: {words or 'its pods are gone'}."
        )


def job_state(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], program: Program) -> JobState:
    """Read a Job and its pods."""
    result: JobResult = "Active"
    failure = finished_at = None
    for condition in job.get("status", {}).get("conditions", []):
        if condition["status"] != "True" or condition["type"] not in ("Complete", "Failed"):
            continue
        result = condition["type"]
        finished_at = datetime.fromisoformat(condition["lastTransitionTime"])
        if result == "Failed":
            failure = Problem(condition.get("reason", ""), condition.get("message", ""))
    ordered = sorted(
        pods, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"])
    )
    return JobState(
        body=job,
        result=result,
        failure=failure,
        finished_at=finished_at,
        attempts=groups_of((pod_state(pod, program) for pod in ordered), size=_size(job)),
    )


def _size(job: Mapping[str, Any]) -> int | None:
    """Return how many pods work on one attempt together, None where each is one of its own."""
    spec = job["spec"]
    return int(spec["completions"]) if spec.get("completionMode") == "Indexed" else None
