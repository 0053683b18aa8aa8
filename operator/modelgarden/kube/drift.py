"""Whether a Service still is what was applied, and what puts it right. Pure.

A hash on the child tells what was applied; only a look at the child tells whether that still holds. Applying again would
not do: it adds a port beside the one that somebody changed. A Deployment's replicas are compared by the rollout, and of a
Job nothing is: its template cannot change, and whether it is suspended is for queues such as Kueue to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelgarden.kube.resources import SERVICES, resource_of


def repair(desired: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the JSON merge patch that makes a Service what was applied, None where it is or for another kind."""
    if resource_of(desired) != SERVICES:
        return None
    wanted, found = desired["spec"], live["spec"]
    selector = found.get("selector") or {}
    if (
        found.get("type") == wanted["type"]
        and selector == wanted["selector"]
        and _same_ports(wanted["ports"], found.get("ports") or [])
    ):
        return None
    added = dict.fromkeys(selector.keys() - wanted["selector"].keys())
    return {"spec": {**wanted, "selector": {**added, **wanted["selector"]}}}


def _same_ports(wanted: list[Mapping[str, Any]], found: list[Mapping[str, Any]]) -> bool:
    """Compare ports by the fields that were applied: the API server adds others."""
    return len(wanted) == len(found) and all(
        port.items() <= live.items() for port, live in zip(wanted, found, strict=True)
    )
