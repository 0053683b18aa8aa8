"""One child of an owner: applied where it differs from what was applied before, put right where somebody changed it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from modelgarden.api import names
from modelgarden.controller.identity import digest, fields
from modelgarden.kube.cache import Cache
from modelgarden.kube.client import APPLY_REJECTED, Kube
from modelgarden.kube.drift import repair
from modelgarden.kube.errors import Invalid, Retryable
from modelgarden.kube.resources import controller_of, resource_of

log = logging.getLogger(__name__)

_BEING_DELETED_SECONDS: Final = 2.0


async def apply_child(kube: Kube, cache: Cache, owner: Mapping[str, Any], child: Mapping[str, Any]) -> None:
    """Make a child what is wanted.

    Raises:
        Retryable: the write did not go through, or an object of that name is being deleted.
        Invalid: the API server refuses it, or an object of that name belongs to somebody else.
    """
    desired = _owned(owner, child)
    resource, metadata = resource_of(desired), desired["metadata"]
    # A miss in the cache proves nothing, and applying over a stranger's object would take it over.
    live = cache.get(resource, metadata["namespace"], metadata["name"]) or await kube.get(
        resource, metadata["namespace"], metadata["name"]
    )
    if live is not None:
        _check_ownership(owner, live)
    if live is None or _differs(desired, live):
        written = await kube.apply(desired)
        log.info("%s %s", "Created" if live is None else "Updated", written["kind"], extra=fields(written))
    elif (patch := repair(desired, live)) is not None and not cache.is_final(resource, live):
        written = await kube.patch(live, patch)
        if written["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]:
            cache.finalize(resource, live)  # an admission webhook makes this of it every time
        else:
            log.warning("Somebody changed %s; it is put right", written["kind"], extra=fields(written))
    else:
        written = live
    cache.put(resource, written)


def _differs(desired: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """Tell whether this was not applied yet, or the label by which it is watched is gone."""
    hashes = [_annotation(obj, names.DESIRED_HASH_ANNOTATION) for obj in (live, desired)]
    watched = live["metadata"].get("labels", {}).get(names.MANAGED_BY_LABEL) == names.MANAGED_BY
    return hashes[0] != hashes[1] or not watched


def _check_ownership(owner: Mapping[str, Any], live: Mapping[str, Any]) -> None:
    controller = controller_of(live)
    what = f"{live['kind']} {live['metadata']['name']}"
    if "deletionTimestamp" in live["metadata"]:
        raise Retryable(f"{what} is being deleted.", after=_BEING_DELETED_SECONDS)
    if controller is not None and controller["uid"] == owner["metadata"]["uid"]:
        return
    if controller is not None and (controller["kind"], controller["name"]) == (
        owner["kind"],
        owner["metadata"]["name"],
    ):
        message = f"{what} belongs to an earlier {owner['kind']} of this name and is being deleted."
        raise Retryable(message, after=_BEING_DELETED_SECONDS)
    message = f"{what} exists and does not belong to this {owner['kind']}; delete it, or use another name."
    raise Invalid(APPLY_REJECTED, message)


def _owned(owner: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = dict(child["metadata"])
    metadata["namespace"] = owner["metadata"]["namespace"]
    metadata["labels"] = {**metadata.get("labels", {}), names.MANAGED_BY_LABEL: names.MANAGED_BY}
    metadata["ownerReferences"] = [reference]
    # A UID says which very object the child was planned for. Another one, or none, is a conflict, and no other content.
    hashed = {name: value for name, value in metadata.items() if name != "uid"}
    applied = {names.DESIRED_HASH_ANNOTATION: digest({**child, "metadata": hashed})}
    metadata["annotations"] = {**metadata.get("annotations", {}), **applied}
    return {**child, "metadata": metadata}


def _annotation(obj: Mapping[str, Any], name: str) -> str | None:
    value: str | None = obj["metadata"].get("annotations", {}).get(name)
    return value
