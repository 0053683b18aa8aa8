"""What in a cluster of the user's own is the demo's. Nothing else is changed, and nothing else is removed.

The demo marks the namespaces that it makes and, through the chart's values, the operator that it installs. Whoever then
upgrades that release with values of their own takes the mark away, and with it the demo's hands off the installation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from hack.demo.environment import Environment
from hack.demo.errors import DemoError

MARK: Final = "modelgarden.dev/made-by"
MAKER: Final = "demo"
_OPERATORS: Final = "app.kubernetes.io/component=operator"
_CHART: Final = "helm.sh/chart"

Manifest = dict[str, Any]


def is_marked(found: Manifest, kind: str = "labels") -> bool:
    """Tell whether the demo has made an object, by its labels or annotations."""
    marks: dict[str, str] = found.get("metadata", {}).get(kind) or {}
    return marks.get(MARK) == MAKER


def operators_of_others(deployments: Iterable[Manifest]) -> dict[str, Manifest]:
    """Return the operators that the demo has not installed, by their namespace."""
    return {
        found["metadata"]["namespace"]: found
        for found in deployments
        if found["metadata"]["labels"].get(_CHART, "").startswith("modelgarden-")
        and not is_marked(found["spec"]["template"], "annotations")
    }


def serves(operator: Manifest, namespace: str) -> bool:
    """Tell whether an operator serves a namespace."""
    variables = operator["spec"]["template"]["spec"]["containers"][0].get("env", [])
    watched = next(
        (one.get("value") for one in variables if one["name"] == "MODELGARDEN_WATCH_NAMESPACES"), None
    )
    return not watched or namespace in watched.split(",")


def find_operators_of_others(environment: Environment) -> dict[str, Manifest]:
    """Return the cluster's operators that the demo has not installed, by their namespace."""
    listed = environment.kubectl(
        "get", "deployments.apps", "--all-namespaces", "--selector", _OPERATORS, "-o", "json"
    )
    return operators_of_others(json.loads(listed)["items"])


def find_namespace(environment: Environment, name: str) -> Manifest | None:
    """Return a namespace, or None where there is none."""
    found = environment.kubectl("get", "namespace", name, "--ignore-not-found", "-o", "json")
    return json.loads(found) if found.strip() else None


def refuse_of_another(environment: Environment, name: str) -> None:
    """Raise DemoError where a namespace is there and somebody else made it; a local cluster is the demo's."""
    found = None if environment.local else find_namespace(environment, name)
    if found is not None and not is_marked(found):
        raise DemoError(
            f"the namespace {name} is there and the demo did not make it, so it stays as it is. Delete it, or, where"
            f" the demo may use it and `make demo-clean` may delete it: kubectl label namespace {name} {MARK}={MAKER}"
        )
