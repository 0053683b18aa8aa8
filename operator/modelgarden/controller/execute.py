"""The only code that carries a plan out: deletions, children, status, event, in this order.

Each step may be cut off and done again: names are deterministic, children are applied, and an unchanged child or
status costs no write.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from modelgarden.api import conditions
from modelgarden.controller.children import apply_child
from modelgarden.controller.events import is_news, post
from modelgarden.controller.identity import fields, phase
from modelgarden.controller.plan import Event, Plan
from modelgarden.controller.times import Clock, timestamp, utc_now
from modelgarden.kube.cache import Cache
from modelgarden.kube.client import Kube
from modelgarden.kube.errors import Invalid, Missing, Retryable
from modelgarden.kube.resources import resource_of

log = logging.getLogger(__name__)


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
            await apply_child(kube, cache, owner, child)
        except Invalid as error:
            refused = error
            break
    status = plan.status if refused is None else _refused_status(owner, plan.status, refused, clock())
    event = plan.event if refused is None else Event("Warning", refused.reason, refused.message)
    await _write_status(kube, cache, owner, status)
    if event is not None and is_news(event, owner.get("status") or {}, status):
        log.info("Phase is %s, %s: %s", phase(status), event.reason, event.note, extra=fields(owner))
        await post(kube, owner, event, clock())
    if refused is not None:
        raise Retryable(refused.message) from refused


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
        "lastTransitionTime": timestamp(now),
    }
    for before in live.get("conditions", []):
        if (before["type"], before["status"]) == (accepted["type"], accepted["status"]):
            accepted["lastTransitionTime"] = before["lastTransitionTime"]
    others = [one for one in base.get("conditions", []) if one["type"] != conditions.ACCEPTED]
    return {**base, "phase": "Blocked", "conditions": [accepted, *others]}
