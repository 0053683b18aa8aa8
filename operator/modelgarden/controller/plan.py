"""What one reconcile wants, and the only code that carries it out.

Order: deletions, children, status, event. Each step may be cut off and done again: names are deterministic,
children are applied, and an unchanged child or status costs no write.
"""

from __future__ import annotations

import hashlib
import json
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol

from modelgarden.api import conditions, names
from modelgarden.kube.cache import Cache
from modelgarden.kube.client import Kube
from modelgarden.kube.drift import repair
from modelgarden.kube.errors import Invalid, Missing, Retryable
from modelgarden.kube.resources import EVENTS, Key, Resource, controller_of, resource_of

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]

CONTROLLER_NAME: Final = f"{names.GROUP}/operator"
_NOTE_BYTES: Final = 1024
_BEING_DELETED_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Event:
    """An event of events.k8s.io/v1 about the owner."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str


@dataclass(frozen=True)
class Plan:
    """The outcome of a pure decision."""

    objects: tuple[dict[str, Any], ...] = ()
    """Children to apply, without ownerReferences, managed-by label and hash: `execute` adds them."""
    deletes: tuple[tuple[Resource, str], ...] = ()
    """Children to delete, by name, in the owner's namespace."""
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


def utc_now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


async def execute(
    kube: Kube, cache: Cache, owner: Mapping[str, Any], plan: Plan, *, clock: Clock = utc_now
) -> None:
    """Carry out a plan for its owner.

    Raises:
        Retryable: a write did not go through, or the API server refused a child and the status says so.
        Invalid: the API server refused the status.
    """
    namespace = owner["metadata"]["namespace"]
    for resource, name in plan.deletes:
        own = (resource, name) == (resource_of(owner), owner["metadata"]["name"])
        seen = owner if own else cache.get(resource, namespace, name)
        # What was made anew under the same name is not what the plan was made for.
        await kube.delete(resource, namespace, name, uid=seen["metadata"]["uid"] if seen else None)
        cache.remove(resource, namespace, name)
    refused: Invalid | None = None
    for child in plan.objects:
        try:
            await _apply_child(kube, cache, owner, child)
        except Invalid as error:
            refused = error
            break
    status = plan.status if refused is None else _refused_status(owner, plan.status, refused, clock())
    event = plan.event if refused is None else Event("Warning", refused.reason, refused.message)
    await _write_status(kube, cache, owner, status)
    if event is not None and _is_news(event, owner.get("status") or {}, status):
        await _post(kube, owner, event, clock())
    if refused is not None:
        raise Retryable(refused.message) from refused


async def _apply_child(kube: Kube, cache: Cache, owner: Mapping[str, Any], child: Mapping[str, Any]) -> None:
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
    raise Invalid("ApplyRejected", message)


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
    digest = _digest({**child, "metadata": hashed})
    metadata["annotations"] = {**metadata.get("annotations", {}), names.DESIRED_HASH_ANNOTATION: digest}
    return {**child, "metadata": metadata}


async def _write_status(
    kube: Kube, cache: Cache, owner: Mapping[str, Any], status: dict[str, Any] | None
) -> None:
    if status is None or status == owner.get("status", {}):
        return
    # Of a status the API server ignores the UID, so that the version must keep it from a namesake made anew.
    metadata = {name: owner["metadata"][name] for name in ("namespace", "name", "resourceVersion")}
    body = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "metadata": metadata, "status": status}
    try:
        applied = await kube.apply_status(body)
    except Missing:  # deleted meanwhile: its event is on the way
        return
    cache.put(resource_of(owner), applied)
    if _phase(status) != _phase(owner.get("status")):
        log.info("Phase is %s", _phase(status), extra=fields(owner))


def _refused_status(
    owner: Mapping[str, Any], status: dict[str, Any] | None, refused: Invalid, now: datetime
) -> dict[str, Any]:
    """Return the status with Accepted=False, so that the reader sees what the API server said."""
    live = owner.get("status", {})
    base = status if status is not None else live
    accepted = {
        "type": conditions.ACCEPTED,
        "status": "False",
        "reason": refused.reason,
        "message": refused.message[:4096],
        "observedGeneration": owner["metadata"].get("generation", 0),
        "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    for before in live.get("conditions", []):
        if (before["type"], before["status"]) == (accepted["type"], accepted["status"]):
            accepted["lastTransitionTime"] = before["lastTransitionTime"]
    others = [one for one in base.get("conditions", []) if one["type"] != conditions.ACCEPTED]
    return {**base, "phase": "Blocked", "conditions": [accepted, *others]}


def _is_news(event: Event, before: Mapping[str, Any], status: Mapping[str, Any] | None) -> bool:
    """Tell whether the phase is another one, or the same for another reason."""
    told = {condition["reason"] for condition in before.get("conditions", ())}
    return _phase(status) != _phase(before) or event.reason not in told


async def _post(kube: Kube, owner: Mapping[str, Any], event: Event, now: datetime) -> None:
    """Post an event. It is for people and best effort: a failure is logged, never retried."""
    metadata = owner["metadata"]
    moment = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    # The state that the event leaves behind is in the name, so that a second try is no second event.
    suffix = _digest([metadata["uid"], metadata["resourceVersion"], event.type, event.reason, event.note])
    body = {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"namespace": metadata["namespace"], "name": f"{metadata['name'][:220]}.{suffix}"},
        "eventTime": moment,
        "type": event.type,
        "reason": event.reason,
        "note": event.note.encode()[:_NOTE_BYTES].decode(errors="ignore"),
        "action": "Reconcile",
        "reportingController": CONTROLLER_NAME,
        "reportingInstance": socket.gethostname(),
        "regarding": {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
    try:
        await kube.create(body)
    except (Retryable, Invalid) as error:
        log.debug("Event not posted: %s", error, extra=fields(owner))


def fields(obj: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of a log line about an object."""
    metadata = obj["metadata"]
    return {
        "kind": obj["kind"],
        "namespace": metadata["namespace"],
        "object": metadata["name"],
        "uid": metadata["uid"],
    }


def _phase(status: Mapping[str, Any] | None) -> str | None:
    return (status or {}).get("phase")


def _annotation(obj: Mapping[str, Any], name: str) -> str | None:
    value: str | None = obj["metadata"].get("annotations", {}).get(name)
    return value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
