"""The resource that is reconciled: its identity, its parsed spec, and its status as it was last written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

from modelgarden.api.conditions import Condition


class HasConditions(Protocol):
    """A status of any kind."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Return the conditions."""
        ...


Spec = TypeVar("Spec")
Status = TypeVar("Status", bound=HasConditions)


@dataclass(frozen=True)
class Identity:
    """What tells one resource from all others."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: str
    """metadata.creationTimestamp."""

    @classmethod
    def of(cls, owner: Mapping[str, Any]) -> Self:
        """Read the metadata of a resource."""
        metadata = owner["metadata"]
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=int(metadata.get("generation", 0)),
            created=metadata.get("creationTimestamp", ""),
        )


@dataclass(frozen=True)
class Subject(Generic[Spec, Status]):
    """One resource."""

    identity: Identity
    spec: Spec
    status: Status

    @property
    def namespace(self) -> str:
        """Return the namespace."""
        return self.identity.namespace

    @property
    def name(self) -> str:
        """Return the name."""
        return self.identity.name

    @property
    def uid(self) -> str:
        """Return the UID."""
        return self.identity.uid

    @property
    def generation(self) -> int:
        """Return the generation of the spec."""
        return self.identity.generation

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of a type as last written."""
        return next((one for one in self.status.conditions if one.type == kind), None)

    def is_true(self, kind: str) -> bool:
        """Tell whether the condition of a type was True."""
        found = self.condition(kind)
        return found is not None and found.status == "True"
