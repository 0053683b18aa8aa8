"""What only events tell: pods that were never made, and pods that have a node and still do not start.

Of a quota, Pod Security or an admission policy the Job controller's events tell; of a sandbox or a volume that cannot be
made the kubelet's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from modelgarden.api.conditions import Problem
from modelgarden.api.messages import clean
from modelgarden.kube.client import Kube
from modelgarden.kube.errors import Invalid
from modelgarden.kube.resources import EVENTS
from modelgarden.registry.lookups import Lookups
from modelgarden.workloads.jobs import JobState
from modelgarden.workloads.waiting import scheduling_condition, start_problem

PATIENCE_SECONDS: Final = 5.0
"""A pod that was made, or has started, within it was never worth a question."""
_KEEP_SECONDS: Final = 4.0
_NO_POD: Final = "reason=FailedCreate,regarding.kind=Job"
_NO_START: Final = "type=Warning,regarding.kind=Pod,reason!=FailedScheduling"

Events = Sequence[Mapping[str, Any]]


class Refusals:
    """Asks why there is no pod, or why one does not start; all owners of a namespace share the answers."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._events = Lookups()

    async def noted(self, job: JobState, namespace: str, now: datetime) -> JobState:
        """Return the Job with what was last said of a pod that could not be made, or does not start.

        Raises:
            Retryable: the API server does not answer.
        """
        since = waits_since(job)
        if since is not None and _is_long(since, now):
            events = await self._told(namespace, _NO_POD)
            return replace(job, refusal=words_of(events, uid=job.uid, since=since))
        if job.newest is None:
            return job
        bodies = [pod.body for pod in job.newest.pods]
        return replace(job, stuck=next(iter((await self.stuck(bodies, namespace, now)).values()), None))

    async def stuck(
        self, pods: Iterable[Mapping[str, Any]], namespace: str, now: datetime
    ) -> Mapping[str, Problem]:
        """Return by UID what the kubelet says of the pods that have a node and do not start.

        Raises:
            Retryable: the API server does not answer.
        """
        waiting = {pod["metadata"]["uid"]: pod for pod in pods if does_not_start(pod, now)}
        if not waiting:
            return {}
        events = await self._told(namespace, _NO_START)
        found = {uid: _kubelets_words(events, pod) for uid, pod in waiting.items()}
        return {uid: problem for uid, problem in found.items() if problem is not None}

    async def _told(self, namespace: str, selector: str) -> Events:
        try:
            return await self._events.get(
                (namespace, selector),
                lambda: self._kube.list(EVENTS, namespace=namespace, field_selector=selector),
                keep_seconds=_KEEP_SECONDS,
            )
        except Invalid:  # a role that may not list events: then the reader asks kubectl describe
            return ()


def waits_since(job: JobState) -> datetime | None:
    """Return since when the Job has had no pod that may run; None where it has one, or needs none."""
    if not job.unfinished or job.suspended:
        return None
    if job.newest is None:
        return job.created_at
    ended = job.newest.ended_at if job.newest.ending is not None else None
    return datetime.fromisoformat(ended) if ended else None


def does_not_start(pod: Mapping[str, Any], now: datetime) -> bool:
    """Tell whether a pod has had its node for a while, and nothing in its status says why it does not start."""
    metadata, status = pod["metadata"], pod.get("status", {})
    if status.get("phase") != "Pending" or "deletionTimestamp" in metadata:
        return False
    placed = [one for one in status.get("conditions", []) if one["type"] == "PodScheduled"]
    if scheduling_condition(pod) is not None or not placed:
        return False
    containers = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    if any("running" in one.get("state", {}) or start_problem(pod, one) for one in containers):
        return False
    since = placed[0].get("lastTransitionTime") or metadata.get("creationTimestamp")
    return bool(since) and _is_long(datetime.fromisoformat(since), now)


def words_of(events: Iterable[Mapping[str, Any]], *, uid: str, since: datetime) -> str | None:
    """Return the newest words about a Job, unless they were about an earlier pod."""
    newest = _newest(events, uid=uid)
    if newest is None or _told_at(newest) < since:
        return None
    return clean(newest.get("note") or "its controller does not say why")


def _kubelets_words(events: Events, pod: Mapping[str, Any]) -> Problem | None:
    newest = _newest(events, uid=pod["metadata"]["uid"])
    if newest is None:
        return None
    said = f"{newest.get('reason', '')}: {newest.get('note') or 'the kubelet does not say why'}"
    return Problem("StartFailed", clean(f"Pod {pod['metadata']['name']} does not start: {said}"))


def _newest(events: Iterable[Mapping[str, Any]], *, uid: str) -> Mapping[str, Any] | None:
    told = (event for event in events if event["regarding"].get("uid") == uid)
    return max(told, key=_told_at, default=None)


def _is_long(since: datetime, now: datetime) -> bool:
    return (now - since).total_seconds() >= PATIENCE_SECONDS


def _told_at(event: Mapping[str, Any]) -> datetime:
    # Controllers and kubelets write events of the older API, whose time has another name in this one.
    series = event.get("series") or {}
    text = series.get("lastObservedTime") or event.get("deprecatedLastTimestamp") or event.get("eventTime")
    return datetime.fromisoformat(text) if text else datetime.min.replace(tzinfo=UTC)
