"""Whether a child still is what was applied, and what puts it right. Pure.

A hash on the child tells what was applied; only a look at the child tells whether that still holds. Applying again would
not do: it adds a port or a probe beside the one that somebody changed. A Deployment's replicas are the rollout's affair,
and of a Job nothing is compared: its template cannot change, and queues such as Kueue say whether it is suspended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from modelgarden.kube.resources import DEPLOYMENTS, SERVICES, resource_of

_CONTAINERS: Final = ("initContainers", "containers")


def repair(desired: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the JSON merge patch that makes a child what was applied, None where nothing is to be done."""
    resource = resource_of(desired)
    if resource == SERVICES:
        return _service(desired["spec"], live["spec"])
    if resource == DEPLOYMENTS:
        return _deployment(desired, live)
    return None


def _service(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any] | None:
    selector = found.get("selector") or {}
    ports = found.get("ports") or []
    if (
        found.get("type") == wanted["type"]
        and selector == wanted["selector"]
        and len(ports) == len(wanted["ports"])
        and all(map(_covers, wanted["ports"], ports))
    ):
        return None
    added = dict.fromkeys(selector.keys() - wanted["selector"].keys())
    return {"spec": {**wanted, "selector": {**added, **wanted["selector"]}}}


def _deployment(desired: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any] | None:
    """Compare labels, and what the containers run; the rest others may have reason to change, such as a pod's volumes."""
    patch: dict[str, Any] = {}
    labels, found = desired["metadata"].get("labels", {}), live["metadata"].get("labels", {})
    if not _covers(labels, found):
        patch["metadata"] = {"labels": labels}
    template: dict[str, Any] = {}
    wanted, runs = desired["spec"]["template"], live["spec"]["template"]
    labels, found = (pods.get("metadata", {}).get("labels", {}) for pods in (wanted, runs))
    if not _covers(labels, found):
        template["metadata"] = {"labels": labels}
    if not all(
        _same_containers(wanted["spec"].get(kind, ()), runs["spec"].get(kind, ())) for kind in _CONTAINERS
    ):
        template["spec"] = {kind: wanted["spec"][kind] for kind in _CONTAINERS if kind in wanted["spec"]}
    if template:
        patch["spec"] = {"template": template}
    return patch or None


def _same_containers(wanted: Iterable[Mapping[str, Any]], found: Iterable[Mapping[str, Any]]) -> bool:
    by_name = {one["name"]: one for one in found}
    return all(one["name"] in by_name and _runs_the_same(one, by_name[one["name"]]) for one in wanted)


def _runs_the_same(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    variables = {one["name"]: one for one in found.get("env", ())}
    return (
        all(wanted.get(field) == found.get(field) for field in ("image", "command", "args"))
        and all(_covers(one, variables.get(one["name"])) for one in wanted.get("env", ()))
    )  # fmt: skip


def _covers(wanted: Any, found: Any) -> bool:
    """Compare by the fields that were applied: the API server adds others."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(name in found and _covers(value, found[name]) for name, value in wanted.items())
    return bool(wanted == found)
