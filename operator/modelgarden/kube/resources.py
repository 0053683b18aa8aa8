"""The resources that the operator reads and writes, and how one object is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelgarden.api import names
from modelgarden.api.kinds import BY_NAME, FINETUNEJOB, KINDS, MODELDEPLOYMENT


@dataclass(frozen=True)
class Resource:
    """A resource of the API server."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """Return the apiVersion of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """Return the URL path of its group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


_OWNERS: Final = {kind.name: Resource(names.GROUP, names.VERSION, kind.plural, kind.name) for kind in KINDS}
FINETUNEJOBS: Final = _OWNERS[FINETUNEJOB.name]
MODELDEPLOYMENTS: Final = _OWNERS[MODELDEPLOYMENT.name]
JOBS: Final = Resource("batch", "v1", "jobs", "Job")
PODS: Final = Resource("", "v1", "pods", "Pod")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
SERVICES: Final = Resource("", "v1", "services", "Service")
SECRETS: Final = Resource("", "v1", "secrets", "Secret")
EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event")
NODES: Final = Resource("", "v1", "nodes", "Node")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")

OWNERS: Final = tuple(_OWNERS.values())
"""The kinds of this operator: what is reconciled."""
_CHILDREN: Final = {child.kind: child for child in (JOBS, PODS, DEPLOYMENTS, SERVICES)}
CHILDREN: Final = tuple(dict.fromkeys(_CHILDREN[name] for kind in KINDS for name in kind.children))
"""What is watched because an owner made it, told apart by the managed-by label."""

MANAGED_SELECTOR: Final = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"

_BY_KIND: Final = {
    (resource.api_version, resource.kind): resource
    for resource in (*OWNERS, *CHILDREN, SECRETS, EVENTS, LEASES)
}


@dataclass(frozen=True, slots=True)
class Key:
    """One object."""

    resource: Resource
    namespace: str
    name: str


def resource_of(obj: Mapping[str, Any]) -> Resource:
    """Return the resource of an object by its apiVersion and kind.

    Raises:
        KeyError: the operator does not know the kind.
    """
    return _BY_KIND[obj["apiVersion"], obj["kind"]]


def key_of(resource: Resource, obj: Mapping[str, Any]) -> Key:
    """Return the key of an object."""
    metadata = obj["metadata"]
    return Key(resource, metadata.get("namespace", ""), metadata["name"])


def controller_of(obj: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the ownerReference of an object's controller."""
    references: list[dict[str, Any]] = obj["metadata"].get("ownerReferences", [])
    return next((reference for reference in references if reference.get("controller")), None)


def controlled_by(child: Mapping[str, Any], uid: str) -> bool:
    """Tell whether the object with the UID is the controller of another."""
    controller = controller_of(child)
    return controller is not None and controller["uid"] == uid


def owner_key(child: Mapping[str, Any]) -> Key | None:
    """Return the object of ours that a child belongs to.

    The controller tells for what the operator made; a label for pods, which Jobs and ReplicaSets control.
    """
    namespace = child["metadata"].get("namespace", "")
    controller = controller_of(child)
    if controller is not None:
        for resource in OWNERS:
            if (controller["apiVersion"], controller["kind"]) == (resource.api_version, resource.kind):
                return Key(resource, namespace, controller["name"])
    labels = child["metadata"].get("labels", {})
    for kind in KINDS:
        if kind.label in labels:
            return Key(_OWNERS[kind.name], namespace, labels[kind.label])
    return None


def referred_keys(resource: Resource, obj: Mapping[str, Any]) -> set[Key]:
    """Return what of ours an object of ours refers to, and is to be reconciled with."""
    namespace, spec = obj["metadata"].get("namespace", ""), obj.get("spec", {})
    referred = BY_NAME[resource.kind].referred(spec)
    return {Key(_OWNERS[kind], namespace, name) for kind, name in referred}
