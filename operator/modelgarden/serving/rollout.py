"""The RollingUpdate between the Deployments of two revisions, as pure decisions on what is seen of them.

One pod more than replicas while it can be scheduled; where it cannot, one old pod makes room. Every step is computed
from the live Deployments alone, so a restart of the operator in mid-rollout changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from modelgarden.api.conditions import Problem

SURGE_GRACE = timedelta(seconds=15)
"""How long a pod must have been without a place before an old pod makes room: schedulers and Kueue need a moment."""


@dataclass(frozen=True)
class Revision:
    """What is seen of one revision's Deployment and its pods."""

    name: str
    created: datetime
    model: str
    """Identity of what it serves: served name and digest of the artifact."""
    wanted: int
    """Replicas of the live Deployment."""
    ready: int
    """Pods that answer, as the Deployment's controller counts them."""
    held: int = 0
    """Pods that hold resources, those that are ending included."""
    served: bool = False
    """It was fully rolled out once, so a rollback may return to it."""
    failed: Problem | None = None
    """Why it was rolled back."""
    scaled_at: datetime | None = None
    """When its replicas were last changed."""
    raised_at: datetime | None = None
    """When its replicas last rose."""
    last_ready_at: datetime | None = None
    """When a pod that never restarted last became ready."""
    starved_since: datetime | None = None
    """Since when a pod of it finds no place that an old pod's end could give it."""
    outdated: int = 0
    """Pods that its Deployment no longer describes, because somebody changed it."""
    surges: bool = True
    """Its Deployment puts a pod in place of an outdated one before that ends."""
    problem: Problem | None = None
    """What keeps a pod of it from answering."""
    awaited: str | None = None
    """What a pod of it awaits that runs, where nothing is wrong with it."""

    @property
    def holdup(self) -> str | None:
        """Return why it has not got on, for a message."""
        return self.problem.message if self.problem else self.awaited

    @property
    def counted(self) -> int:
        """Ready pods that stay: a Deployment that was just scaled down still reports those that will end."""
        return min(self.ready, self.wanted)

    def starved(self, now: datetime) -> bool:
        """Say whether an old pod must make room."""
        return self.starved_since is not None and now - self.starved_since >= SURGE_GRACE

    def may_surge(self, now: datetime) -> bool:
        """Say whether its Deployment may put pods in place of outdated ones before those end: while there is room."""
        return not self.outdated or (self.surges and not self.starved(now))


@dataclass(frozen=True)
class Rollout:
    """Where the pods are going: every other revision is drained towards the target."""

    target: Revision
    others: tuple[Revision, ...]
    replicas: int
    returning: bool = False
    """The target is not what is wanted, but what a rollback returned to."""

    @property
    def settled(self) -> bool:
        """Only the target has pods to come, as many as there should be."""
        return self.target.wanted == self.replicas and not any(other.wanted for other in self.others)

    @property
    def complete(self) -> bool:
        """Every replica is one of the target's, and ready."""
        return self.settled and self.target.ready >= self.replicas

    @property
    def fallback(self) -> Revision | None:
        """Return what a rollback would return to: the newest other revision that was fully rolled out once."""
        return _newest_served(self.others)


def aim(wanted: Revision | None, others: Sequence[Revision], replicas: int) -> Rollout | None:
    """Choose the target: the wanted revision, or where it has failed what served before it.

    While nothing is known to be wanted, the newest revision that served goes on. None: there is nothing at all.
    """
    if wanted is not None and (wanted.failed is None or _newest_served(others) is None):
        return Rollout(target=wanted, others=tuple(others), replicas=replicas)
    everything = (*others, wanted) if wanted is not None else tuple(others)
    target = _newest_served(others) or max(others, key=lambda other: other.created, default=None)
    if target is None:
        return None
    rest = tuple(other for other in everything if other.name != target.name)
    return Rollout(target=target, others=rest, replicas=replicas, returning=True)


def verdict(rollout: Rollout, deadline: timedelta, now: datetime) -> Problem | None:
    """Return why the target is to be rolled back, or None.

    Without a revision that served before there is nothing to return to: the target then keeps trying.
    """
    target = rollout.target
    if rollout.returning or target.served or rollout.complete or rollout.fallback is None:
        return None
    if target.problem is not None and target.problem.permanent:
        return target.problem
    return overdue(rollout, deadline, now)


def overdue(rollout: Rollout, deadline: timedelta, now: datetime) -> Problem | None:
    """Return that the rollout has not got on within its deadline, or None.

    While replicas have yet to change it is not for the pods to get on: the operator may have been away, or the
    rollout at zero replicas.
    """
    target = rollout.target
    if target.served or rollout.complete or _owes_a_step(rollout, now):
        return None
    if now - progress_at(rollout) < deadline:
        return None
    because = f" {target.holdup}" if target.holdup else ""
    return Problem(
        reason="ProgressDeadlineExceeded",
        message=f"{target.ready} of {rollout.replicas} replicas of revision {target.name} are ready, and none became "
        f"so in {int(deadline.total_seconds())} s.{because}",
    )


def progress_at(rollout: Rollout) -> datetime:
    """Return when the rollout last got on: new pods were asked for, one became ready or an old one was given up."""
    target = rollout.target
    seen = (target.created, target.raised_at, target.last_ready_at, *(o.scaled_at for o in rollout.others))
    return max(moment for moment in seen if moment is not None)


def scale(rollout: Rollout, now: datetime) -> dict[str, int]:
    """Return the replicas that each revision should have now.

    With room for one more pod, the ready pods never fall below replicas; without, never below replicas - 1.
    Where fewer are ready than that, pods of a revision that served stay although they do not answer for now.
    """
    target, replicas = rollout.target, rollout.replicas
    occupied = sum(max(other.wanted, other.held) for other in rollout.others)
    floor = max(0, replicas - 1) if target.starved(now) else replicas
    return {
        target.name: min(replicas, max(target.wanted, replicas + 1 - occupied)),
        **_kept(rollout.others, needed=max(0, floor - target.counted)),
    }


def _kept(others: Sequence[Revision], *, needed: int) -> dict[str, int]:
    """Return how many pods of each revision stay: the ready ones that are needed, then others that may answer again.

    What served last is given up last.
    """
    kept: dict[str, int] = {}
    for other in sorted(others, key=lambda other: (other.served, other.created), reverse=True):
        kept[other.name] = min(other.counted, needed)
        needed -= kept[other.name]
    for other in sorted(others, key=lambda other: other.created, reverse=True):
        if other.served and other.failed is None:
            unready = min(other.wanted - kept[other.name], needed)
            kept[other.name] += unready
            needed -= unready
    return kept


def _owes_a_step(rollout: Rollout, now: datetime) -> bool:
    scales = scale(rollout, now)
    return any(scales[one.name] != one.wanted for one in (rollout.target, *rollout.others))


def removable(rollout: Rollout, wanted: str | None) -> tuple[str, ...]:
    """Return the revisions whose Deployments can go: drained, and not what a rollback would return to."""
    kept = {wanted}
    if not rollout.target.served and rollout.fallback is not None:
        kept.add(rollout.fallback.name)
    return tuple(
        other.name for other in rollout.others if other.name not in kept and other.wanted == other.ready == 0
    )


def _newest_served(revisions: Sequence[Revision]) -> Revision | None:
    served = (revision for revision in revisions if revision.served and revision.failed is None)
    return max(served, key=lambda revision: revision.created, default=None)
