"""Deployments of version 0.1.0, which say nowhere what they were made with: their template tells what was declared. Pure.

Compared is what follows from the spec, read tolerantly; what an operator adds to a template of its own is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from modelgarden.api import names
from modelgarden.api.access import SECRET_KEYS
from modelgarden.api.documents import OPERATOR, DocumentError
from modelgarden.api.pods import ServeConfig
from modelgarden.kube.quantities import quantity
from modelgarden.serving.template import ENGINE_PATIENCE, FETCH, SERVE
from modelgarden.workloads.podspec import GPU_RESOURCE

_FIELDS: Final[dict[str, Any]] = {
    "engine": {
        "args": dict.fromkeys(
            ("maxModelLen", "gpuMemoryUtilization", "maxNumSeqs", "dtype", "enforceEager")
        ),
        "extraArgs": None,
    },
    "resources": dict.fromkeys(("gpus", "cpu", "memory")),
    "podTemplate": dict.fromkeys(
        (
            "labels", "annotations", "nodeSelector", "tolerations", "priorityClassName", "runtimeClassName",
            "serviceAccountName", "imagePullSecrets",
        )
    ),
    "storage": dict.fromkeys(("endpoint", "region", "credentialsSecretRef")),
    "rollout": dict.fromkeys(("progressDeadlineSeconds",)),
}  # fmt: skip
_PLACEMENT: Final = (
    "nodeSelector", "tolerations", "priorityClassName", "runtimeClassName", "serviceAccountName",
    "imagePullSecrets",
)  # fmt: skip
_AMOUNTS: Final = ("cpu", "memory", GPU_RESOURCE)
_NOT_DECLARED: Final = (f"{names.GROUP}/", "kubectl.kubernetes.io/", names.MANAGED_BY_LABEL)


def knew(declared: Mapping[str, Any], fields: Mapping[str, Any] = _FIELDS) -> bool:
    """Tell whether version 0.1.0 knew every field that is declared: it cannot have made what has others."""
    return all(
        name in fields and (fields[name] is None or knew(inner, fields[name]))
        for name, inner in declared.items()
    )


def says_the_same(pods: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Tell whether two pod templates were made of the same declaration."""
    said = _said_by(pods)
    return said is not None and said == _said_by(others)


def _said_by(pods: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a pod template says of what was declared; None where somebody made something else of it."""
    metadata, spec = pods.get("metadata", {}), pods["spec"]
    serve, fetch = _named(spec["containers"], SERVE), _named(spec.get("initContainers", ()), FETCH)
    variables = _variables(serve)
    try:
        config = ServeConfig.read(variables[names.CONFIG_VARIABLE]["value"], reader=OPERATOR)
    except (KeyError, DocumentError):
        return None
    told = config.to_dict()
    return {
        "images": [serve.get("image"), fetch.get("image")],
        "config": {name: told.get(name) for name in _TOLD},
        "secret": _secret_of(_variables(fetch).get(SECRET_KEYS[0], {})),
        "resources": {
            kind: {name: quantity(value) for name, value in amounts.items() if name in _AMOUNTS}
            for kind, amounts in serve.get("resources", {}).items()
            if kind in ("requests", "limits")
        },
        "deadline": variables.get(ENGINE_PATIENCE, {}).get("value"),
        "labels": _of_the_user(metadata.get("labels")),
        "annotations": _of_the_user(metadata.get("annotations")),
        "placement": {name: spec.get(name) for name in _PLACEMENT},
    }


_TOLD: Final = (
    "modelUri", "manifestSha256", "listingSha256", "servedModelName", "engineArgs", "gpus", "storage",
)  # fmt: skip
"""Fields of the ServeConfig that come from what was declared."""


def _of_the_user(found: Mapping[str, str] | None) -> dict[str, str]:
    """Return labels or annotations without those that the operator or kubectl sets."""
    return {name: value for name, value in (found or {}).items() if not name.startswith(_NOT_DECLARED)}


def _secret_of(variable: Mapping[str, Any]) -> str | None:
    name: str | None = variable.get("valueFrom", {}).get("secretKeyRef", {}).get("name")
    return name


def _variables(container: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {one["name"]: one for one in container.get("env", ())}


def _named(entries: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next((entry for entry in entries if entry["name"] == name), {})
