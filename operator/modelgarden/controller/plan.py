"""What one reconcile wants: the outcome of a pure decision, which `execute` carries out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from modelgarden.kube.resources import Key, Resource


@dataclass(frozen=True)
class Event:
    """An event of events.k8s.io/v1 about the owner."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str


@dataclass(frozen=True)
class Effect:
    """Something to do outside of the cluster; each kind has its own. Doing it twice must be harmless."""


@dataclass(frozen=True)
class Plan:
    """The outcome of a pure decision."""

    objects: tuple[dict[str, Any], ...] = ()
    """Children to apply, without ownerReferences, managed-by label and hash: `execute` adds them."""
    deletes: tuple[tuple[Resource, str], ...] = ()
    """Children to delete, by name, in the owner's namespace."""
    effect: Effect | None = None
    """What comes first: its result is observed, and the plan made anew, before anything else is carried out."""
    status: dict[str, Any] | None = None
    """The owner's whole status, or None to leave it."""
    requeue_after: float | None = None
    """Seconds until the next look, or None to wait for an event."""
    event: Event | None = None
    """What tells of the state that the status is in; posted when that is news."""


class Reconciler(Protocol):
    """What the workers call."""

    async def reconcile(self, key: Key) -> float | None:
        """Bring one object nearer to what it wants; return seconds until the next look, if one is due."""
