"""Groups of pods that work on one attempt together: one pod today, a rank each where a Job has several. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any, Final

from modelgarden.api.conditions import Problem
from modelgarden.workloads.endings import Ending
from modelgarden.workloads.pods import PodState

_COMPLETION_INDEX: Final = "batch.kubernetes.io/job-completion-index"

NODE_SECONDS: Final = 30.0
"""How long after a pod's last moment its node may take to say that it has ended."""


@dataclass(frozen=True)
class PodGroup:
    """The pods of one attempt, by rank. The first rank speaks for the group; how it ended is the whole group's."""

    pods: tuple[PodState, ...]

    @property
    def leader(self) -> PodState:
        """Return the pod of the first rank, which reports."""
        return self.pods[0]

    @property
    def name(self) -> str:
        """Return the leader's name."""
        return self.leader.name

    @property
    def started_at(self) -> str | None:
        """Return when the last of them started, None before that."""
        started = [pod.started_at for pod in self.pods]
        return max((one for one in started if one is not None), default=None) if all(started) else None

    @property
    def ended_at(self) -> str | None:
        """Return when the first of them ended."""
        return min((pod.ended_at for pod in self.pods if pod.ended_at is not None), default=None)

    @property
    def ending(self) -> Ending | None:
        """Return how the group ended: as its first failure did, or well once all have."""
        endings = [pod.ending for pod in sorted(self.pods, key=lambda pod: pod.ended_at or "")]
        failures = (one for one in endings if one is not None and one.failed)
        return next(failures, self.leader.ending if all(endings) else None)

    @property
    def disruption(self) -> str | None:
        """Return why one of them is being evicted, preempted or deleted."""
        return next((pod.disruption for pod in self.pods if pod.disruption is not None), None)

    @property
    def waiting(self) -> Problem | None:
        """Return what keeps one of them from starting."""
        return next((pod.waiting for pod in self.pods if pod.waiting is not None), None)

    @property
    def waiting_since(self) -> datetime | None:
        """Return when the scheduler first found no place for one of them."""
        return min((pod.waiting_since for pod in self.pods if pod.waiting_since is not None), default=None)

    def abandoned(self, now: datetime) -> PodState | None:
        """Return a pod that its node should have ended a while ago, which says nothing any more."""
        overdue = (
            (pod, (now - pod.deleted_at).total_seconds())
            for pod in self.pods
            if pod.deleted_at is not None and pod.ending is None
        )
        return next((pod for pod, seconds in overdue if seconds > NODE_SECONDS), None)

    @property
    def running(self) -> bool:
        """All of them run."""
        return self.started_at is not None and self.ending is None


def groups_of(pods: Iterable[PodState]) -> tuple[PodGroup, ...]:
    """Return the attempts' groups, oldest first, of pods in the order of their creation.

    The Job controller makes a pod of an index anew only after the one before it, and a group restarts as a whole: so
    the pods that came n-th for their indexes are the n-th attempt. Pods without an index are an attempt each.
    """
    by_index: dict[int, list[PodState]] = defaultdict(list)
    for pod in pods:
        by_index[_index(pod.body)].append(pod)
    ranks = [by_index[index] for index in sorted(by_index)]
    attempts = zip_longest(*ranks)
    return tuple(PodGroup(tuple(pod for pod in attempt if pod is not None)) for attempt in attempts)


def _index(pod: Mapping[str, Any]) -> int:
    return int(pod["metadata"].get("annotations", {}).get(_COMPLETION_INDEX, 0))
