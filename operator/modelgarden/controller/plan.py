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

    @property
    def summary(self) -> str:
        """Return what is decided in one line, for the log."""
        told = [f"phase {self.status.get('phase')}"] if self.status is not None else []
        if self.event is not None:
            told.append(f"{self.event.reason}: {self.event.note}")
        told += [f"apply {one['kind']} {one['metadata']['name']}" for one in self.objects]
        told += [f"delete {resource.kind} {name}" for resource, name in self.deletes]
        if self.effect is not None:
            told.append(f"first {type(self.effect).__name__}")
        again = "with the next event" if self.requeue_after is None else f"in {self.requeue_after:.1f} s"
        return "; ".join([*told, f"look again {again}"])


class Reconciler(Protocol):
    """What the workers call."""

    async def reconcile(self, key: Key) -> float | None:
        """Bring one object nearer to what it wants; return seconds until the next look, if one is due."""
