"""Which revision is wanted: the hash of what was declared, found again among the live Deployments. Pure.

Declared are the artifact, the image, and the fields of the spec that reach the pods, without those that have their
default. Nothing of the operator's own making is in the hash, so that a new version of it rolls out nothing. For that
the default of a field never changes within an API version: the API server has stored it with the object.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from modelgarden.api import names
from modelgarden.api.common import SECRET_KEYS
from modelgarden.api.documents import OPERATOR, DocumentError
from modelgarden.api.pods import ServeConfig
from modelgarden.kube.quantities import quantity
from modelgarden.serving.manifests import has_record
from modelgarden.serving.template import ENGINE_PATIENCE, FETCH, SERVE, Wanted, template

_REACH_THE_PODS: Final[dict[str, Any]] = {
    "engine": True,
    "resources": True,
    "pod_template": True,
    "storage": True,
    "rollout": {"progress_deadline_seconds"},
}
_PLACEMENT: Final = (
    "nodeSelector", "tolerations", "priorityClassName", "runtimeClassName", "serviceAccountName",
    "imagePullSecrets",
)  # fmt: skip
_NOT_DECLARED: Final = (f"{names.GROUP}/", "kubectl.kubernetes.io/", names.MANAGED_BY_LABEL)


def declared(wanted: Wanted) -> dict[str, Any]:
    """Return what was declared of the pods, as JSON."""
    return {
        "artifact": {"uri": wanted.artifact.uri, "sha256": wanted.artifact.sha256},
        "image": wanted.settings.serve_image,
        "servedModelName": wanted.served_name,
        "spec": wanted.spec.model_dump(
            mode="json", by_alias=True, exclude_defaults=True, include=_REACH_THE_PODS
        ),
    }


def revision_hash(wanted: Wanted) -> str:
    """Return the name of a revision that is yet to be made."""
    text = json.dumps(declared(wanted), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def revision_name(wanted: Wanted, deployments: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the name of the wanted revision, given the live Deployments by revision.

    Version 0.1.0 named revisions by the hash of their template. Such a Deployment is the wanted one where its template
    says the same of what was declared, and keeps its name.
    """
    name = revision_hash(wanted)
    if name in deployments:
        return name
    said = _said_by(template(wanted))
    same = [
        (live["metadata"]["creationTimestamp"], revision)
        for revision, live in deployments.items()
        if not has_record(live) and _said_by(live["spec"]["template"]) == said
    ]
    return max(same, default=("", name))[1]


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
            kind: {name: quantity(value) for name, value in serve.get("resources", {}).get(kind, {}).items()}
            for kind in ("requests", "limits")
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
