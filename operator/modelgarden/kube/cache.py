"""What the watches have told, kept for the reconcilers to read: a hint, never the truth.

Fed by the runtime from watch events and by `plan.execute` from the API server's answers, so that a reconcile
sees its own writes. An object older than the one known is ignored; one that was removed does not come back.

Objects are kept as JSON text, a sixth of what they take as dicts: most are read only a few times in their life.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelgarden.api.kinds import KINDS
from modelgarden.kube.resources import PODS, Key, Resource, controller_of, key_of

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_INDEXED_LABELS: Final = tuple(kind.label for kind in KINDS)

Index = tuple[Resource, str, str, str]
"""Resource, namespace (empty for the owner's UID), label (empty likewise), value."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One object, and of it what is asked for without reading it."""

    uid: str
    version: int
    indices: tuple[Index, ...]
    text: str


class Cache:
    """The newest known state of watched objects, without what nobody here reads."""

    def __init__(self) -> None:
        self._entries: dict[Resource, dict[Key, _Entry]] = defaultdict(dict)
        self._indices: dict[Index, set[Key]] = defaultdict(set)
        self._removed: dict[Resource, dict[str, float]] = defaultdict(dict)
        self._final: dict[Key, int] = {}

    def put(self, resource: Resource, obj: Mapping[str, Any]) -> bool:
        """Remember an object unless a newer one is known or it is gone.

        Returns False for exactly the version that is known: the echo of an own write. An older version is a
        change that nobody has acted on yet, though what is known already contains it.
        """
        key = key_of(resource, obj)
        uid, version = obj["metadata"]["uid"], _version(obj)
        known = self._entries[resource].get(key)
        if version <= self._removed[resource].get(uid, 0):
            return True
        if known is not None and known.uid == uid and version <= known.version:
            return version != known.version
        text = json.dumps(_kept(resource, obj), separators=(",", ":"))
        entry = _Entry(uid, version, _indices(resource, obj), text)
        self._forget(key)
        self._entries[resource][key] = entry
        for index in entry.indices:
            self._indices[index].add(key)
        return True

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        """Forget an object that is deleted."""
        key = Key(resource, namespace, name)
        known = self._entries[resource].get(key)
        if known is not None:
            self._removed[resource][known.uid] = math.inf
            self._forget(key)

    def leave(self, resource: Resource, obj: Mapping[str, Any]) -> None:
        """Forget an object that a watch says is gone, as of its resource version: it may only have lost its label."""
        key = key_of(resource, obj)
        known = self._entries[resource].get(key)
        uid = obj["metadata"]["uid"]
        removed = self._removed[resource]
        removed[uid] = max(removed.get(uid, 0), _version(obj))
        if known is not None and known.uid == uid and known.version <= removed[uid]:
            self._forget(key)

    def finalize(self, resource: Resource, obj: Mapping[str, Any]) -> None:
        """Note that this version of an object is all that the API server makes of a repair."""
        self._final[key_of(resource, obj)] = _version(obj)

    def is_final(self, resource: Resource, obj: Mapping[str, Any]) -> bool:
        """Tell whether a repair of this version of an object changed nothing."""
        return self._final.get(key_of(resource, obj)) == _version(obj)

    def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        """Return an object, a copy of the caller's own."""
        entry = self._entries[resource].get(Key(resource, namespace, name))
        return None if entry is None else _read(entry)

    def children(self, resource: Resource, owner_uid: str) -> list[dict[str, Any]]:
        """Return the objects whose controller has the UID, by name: Jobs of a FineTuneJob, pods of a Job."""
        return self._indexed((resource, "", "", owner_uid))

    def labelled(self, resource: Resource, namespace: str, label: str, value: str) -> list[dict[str, Any]]:
        """Return the objects with an owner's label (`Kind.label`) set to the value, by name."""
        return self._indexed((resource, namespace, label, value))

    def keys(self, resource: Resource) -> list[Key]:
        """Return the keys of all known objects."""
        return list(self._entries[resource])

    def differences(
        self,
        resource: Resource,
        listed: Mapping[Key, tuple[str, int]],
        version: int,
        *,
        namespace: str | None = None,
    ) -> tuple[set[Key], set[Key]]:
        """Compare with a full listing of UIDs and resource versions, made at a resource version.

        Returns the keys to read anew, and the ghosts: known here, gone there.
        """
        known = self._entries[resource]
        stale = {
            key
            for key, (uid, listed_version) in listed.items()
            if listed_version > self._removed[resource].get(uid, 0)
            and (key not in known or known[key].uid != uid or known[key].version < listed_version)
        }
        ghosts = {
            key
            for key, entry in known.items()
            if key not in listed and entry.version <= version and namespace in (None, key.namespace)
        }
        return stale, ghosts

    def forget_removed(self, resource: Resource) -> None:
        """Drop the memory of removed objects, once no older listing or event can be under way."""
        self._removed[resource].clear()

    def _indexed(self, index: Index) -> list[dict[str, Any]]:
        keys = sorted(self._indices.get(index, ()), key=lambda key: key.name)
        return [_read(self._entries[index[0]][key]) for key in keys]

    def _forget(self, key: Key) -> None:
        known = self._entries[key.resource].pop(key, None)
        if known is None:
            return
        self._final.pop(key, None)
        for index in known.indices:
            self._indices[index].discard(key)
            if not self._indices[index]:
                del self._indices[index]


def _read(entry: _Entry) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(entry.text)
    return found


def _version(obj: Mapping[str, Any]) -> int:
    # Comparable as numbers since Kubernetes 1.35 says so, and with etcd always.
    return int(obj["metadata"]["resourceVersion"])


def _indices(resource: Resource, obj: Mapping[str, Any]) -> tuple[Index, ...]:
    metadata = obj["metadata"]
    labels = metadata.get("labels", {})
    found: list[Index] = [
        (resource, metadata.get("namespace", ""), label, labels[label])
        for label in _INDEXED_LABELS
        if label in labels
    ]
    controller = controller_of(obj)
    if controller is not None:
        found.append((resource, "", "", controller["uid"]))
    return tuple(found)


def _kept(resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is worth its memory: no managedFields, of a pod's spec only what messages name."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    if _LAST_APPLIED in metadata.get("annotations", {}):
        metadata["annotations"] = {
            name: value for name, value in metadata["annotations"].items() if name != _LAST_APPLIED
        }
    kept = {**obj, "metadata": metadata}
    if resource is PODS:
        kept["spec"] = _pod_spec(obj.get("spec", {}))
    return kept


def _pod_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        kind: [
            {name: container[name] for name in ("name", "image", "resources") if name in container}
            for container in spec[kind]
        ]
        for kind in ("initContainers", "containers")
        if kind in spec
    }
