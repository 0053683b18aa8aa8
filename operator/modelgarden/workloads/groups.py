"""Groups of pods that work on one attempt together: one pod, or one for each index of an Indexed Job. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from modelgarden.api.conditions import Problem
from modelgarden.workloads.endings import TERMINATED, Ending
from modelgarden.workloads.pods import PodState

_COMPLETION_INDEX: Final = "batch.kubernetes.io/job-completion-index"

PEER_LOST: Final = "PeerLost"
"""Reason of a pod that ended for the sake of another one."""
_OF_OTHERS: Final = frozenset({PEER_LOST, TERMINATED})
"""Reasons that another pod's end brings about: the Job controller stops what runs of a Job that fails."""
NODE_SECONDS: Final = 30.0
"""How long after a pod's last moment its node may take to say that it has ended."""


@dataclass(frozen=True)
class PodGroup:
    """The pods of one attempt, by rank. The first rank speaks for the group; how it ended is the whole group's."""

    pods: tuple[PodState, ...]
    size: int = 1
    """How many pods it takes."""

    @property
    def leader(self) -> PodState:
        """Return the pod of the first rank, which reports."""
        return self.pods[0]

    @property
    def name(self) -> str:
        """Return the leader's name."""
        return self.leader.name

    @property
    def created_at(self) -> datetime | None:
        """Return when the first of them was made."""
        return min((pod.created_at for pod in self.pods if pod.created_at is not None), default=None)

    @property
    def lacks_its_first(self) -> bool:
        """Whether the pod that it is named after is gone, or not there yet."""
        return self.size > 1 and _index(self.leader.body) != 0

    @property
    def started_at(self) -> str | None:
        """Return when the last of them started, None before that."""
        started = self._started
        return max(started) if len(started) >= self.size else None

    @property
    def first_started_at(self) -> str | None:
        """Return when the first of them started."""
        return min(self._started, default=None)

    @property
    def _started(self) -> list[str]:
        return [pod.started_at for pod in self.pods if pod.started_at is not None]

    @property
    def ended_at(self) -> str | None:
        """Return when the first of them ended."""
        return min((pod.ended_at for pod in self.pods if pod.ended_at is not None), default=None)

    @property
    def ending(self) -> Ending | None:
        """Return how the group ended: as its first failure did that has a cause of its own, or well once all have.

        Where pods only say that they lost another one, the cause may still be on its way: until all that are there have
        ended, the group has not.
        """
        endings = [pod.ending for pod in sorted(self.pods, key=lambda pod: pod.ended_at or "")]
        failures = [one for one in endings if one is not None and one.failed]
        if self.unsettled:
            return None
        if failures:
            return next((one for one in failures if one.reason not in _OF_OTHERS), _least(failures))
        return self.leader.ending if all(endings) and len(endings) >= self.size else None

    @property
    def unsettled(self) -> bool:
        """Whether pods have failed for the sake of others, and one that may say why has not ended."""
        reasons = [pod.ending.reason for pod in self.pods if pod.ending is not None and pod.ending.failed]
        lost = PEER_LOST in reasons and all(reason in _OF_OTHERS for reason in reasons)
        return lost and any(pod.ending is None for pod in self.pods)

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
        return self.started_at is not None and self.ending is None and not self.unsettled


def groups_of(pods: Iterable[PodState], *, size: int | None = None) -> tuple[PodGroup, ...]:
    """Return the attempts' groups, oldest first, of a Job's pods in the order of their creation.

    An Indexed Job, of so many indexes, is one attempt: the newest pods of its indexes. Of any other Job each pod is one.
    """
    if size is None:
        return tuple(PodGroup((pod,)) for pod in pods)
    newest = {_index(pod.body): pod for pod in pods}
    return (PodGroup(tuple(newest[index] for index in sorted(newest)), size),) if newest else ()


def _least(failures: list[Ending]) -> Ending:
    """Return of ends without a cause of their own one by SIGTERM, else the first."""
    return next((one for one in failures if one.reason != PEER_LOST), failures[0])


def _index(pod: Mapping[str, Any]) -> int:
    return int(pod["metadata"].get("annotations", {}).get(_COMPLETION_INDEX, 0))
