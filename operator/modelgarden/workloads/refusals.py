"""Pods that were never made: of a quota, Pod Security or an admission policy only the Job controller's events tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from modelgarden.api.messages import clean
from modelgarden.kube.client import Kube
from modelgarden.kube.errors import Invalid
from modelgarden.kube.resources import EVENTS
from modelgarden.registry.lookups import Lookups
from modelgarden.workloads.jobs import JobState

PATIENCE_SECONDS: Final = 5.0
"""A pod that the controller has made within it was never worth a question."""
_KEEP_SECONDS: Final = 4.0
_SELECTOR: Final = "reason=FailedCreate,regarding.kind=Job"


class PodRefusals:
    """Asks why a Job has no pod; all Jobs of a namespace share the answer."""

    def __init__(self, kube: Kube, clock: Callable[[], datetime]) -> None:
        self._kube = kube
        self._clock = clock
        self._events = Lookups()

    async def noted(self, job: JobState, namespace: str) -> JobState:
        """Return the Job with what its controller said last of a pod that it could not make.

        Raises:
            Retryable: the API server does not answer.
        """
        since = waits_since(job)
        if since is None or (self._clock() - since).total_seconds() < PATIENCE_SECONDS:
            return job
        try:
            events = await self._events.get(
                namespace,
                lambda: self._kube.list(EVENTS, namespace=namespace, field_selector=_SELECTOR),
                keep_seconds=_KEEP_SECONDS,
            )
        except Invalid:  # a role that may not list events: then the reader asks kubectl describe
            return job
        return replace(job, refusal=words_of(events, uid=job.uid, since=since))


def waits_since(job: JobState) -> datetime | None:
    """Return since when the Job has had no pod that may run; None where it has one, or needs none."""
    if job.outcome != "Active" or job.suspended or job.being_deleted:
        return None
    if job.newest is None:
        return job.created_at
    ended = job.newest.ended_at if job.newest.ending is not None else None
    return datetime.fromisoformat(ended) if ended else None


def words_of(events: Iterable[Mapping[str, Any]], *, uid: str, since: datetime) -> str | None:
    """Return the newest words about a Job, unless they were about an earlier pod."""
    told = [event for event in events if event["regarding"].get("uid") == uid]
    newest = max(told, key=_told_at, default=None)
    if newest is None or _told_at(newest) < since:
        return None
    return clean(newest.get("note") or "its controller does not say why")


def _told_at(event: Mapping[str, Any]) -> datetime:
    # The Job controller writes events of the older API, whose time has another name in this one.
    series = event.get("series") or {}
    text = series.get("lastObservedTime") or event.get("deprecatedLastTimestamp") or event.get("eventTime")
    return datetime.fromisoformat(text) if text else datetime.min.replace(tzinfo=UTC)
