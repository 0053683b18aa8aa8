"""The children of a ModelDeployment as manifests: one Deployment per revision, and the Service. Pure.

A Deployment keeps the spec that it was made with, whatever a later version of the operator would make: it is recorded in
an annotation, so that what somebody else changed can be told from what a new version makes otherwise, and put right.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from modelgarden.api import names
from modelgarden.kube.resources import DEPLOYMENTS, SERVICES
from modelgarden.serving.template import Wanted, template
from modelgarden.settings import Settings

SERVICE_PORT: Final = 80

MODEL_ANNOTATION: Final = f"{names.GROUP}/model"
"""Served name and digest of the artifact: revisions that share it answer for the same model."""
SERVED_ANNOTATION: Final = f"{names.GROUP}/served"
"""The revision was fully rolled out once."""
FAILED_ANNOTATION: Final = f"{names.GROUP}/failed"
"""Why the revision was rolled back, as JSON."""
SCALED_ANNOTATION: Final = f"{names.GROUP}/scaled-at"
"""When the operator last changed its replicas."""
RAISED_ANNOTATION: Final = f"{names.GROUP}/raised-at"
"""When the operator last raised its replicas: its progress deadline runs from there."""
MADE_WITH_ANNOTATION: Final = f"{names.GROUP}/made-with"
"""Labels and spec (but replicas) that the Deployment was made with, as JSON."""
LARGEST_RECORD_BYTES: Final = 240 * 1024
"""The API server takes annotations of 256 KiB in all. A Deployment with a larger record goes without."""
ONE_MORE: Final[dict[str, Any]] = {
    "type": "RollingUpdate",
    "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
}
"""A Deployment's template never changes by the operator. Where somebody else changes it, what serves must not go first."""
ONE_BY_ONE: Final[dict[str, Any]] = {
    "type": "RollingUpdate",
    "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
}
"""For where there is no room for one pod more."""
NOTES: Final = (SERVED_ANNOTATION, FAILED_ANNOTATION, SCALED_ANNOTATION, RAISED_ANNOTATION)
"""What the rollout notes on a Deployment."""


def deployment_name(name: str, revision: str) -> str:
    """Return the name of a revision's Deployment."""
    return f"{name}-{revision}"


def selector(name: str) -> str:
    """Return the label selector of all serving pods."""
    return f"{names.MODELDEPLOYMENT_LABEL}={name}"


def url(namespace: str, name: str, settings: Settings) -> str:
    """Return the URL of the OpenAI API inside the cluster."""
    return f"http://{name}.{namespace}.svc.{settings.cluster_domain}/v1"


def deployment(
    wanted: Wanted, revision: str, *, replicas: int, annotations: Mapping[str, str]
) -> dict[str, Any]:
    """Return the Deployment of a revision that is not there yet."""
    own = {names.MODELDEPLOYMENT_LABEL: wanted.name, names.REVISION_LABEL: revision}
    pods = template(wanted)
    pods["metadata"]["labels"][names.REVISION_LABEL] = revision
    made_with = {
        "labels": {**wanted.spec.pod_template.labels, **own},
        "spec": {
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": wanted.spec.rollout.progress_deadline_seconds,
            "strategy": ONE_MORE,
            "selector": {"matchLabels": own},
            "template": pods,
        },
    }
    metadata = {"namespace": wanted.namespace, "name": deployment_name(wanted.name, revision)}
    notes = {**annotations, MODEL_ANNOTATION: wanted.model, **_recorded(made_with)}
    return _deployment(metadata, made_with, replicas=replicas, annotations=notes)


def as_made(
    live: Mapping[str, Any], *, replicas: int, annotations: Mapping[str, str], surge: bool = True
) -> dict[str, Any] | None:
    """Return a live Deployment as it was made, with other replicas and notes; None where it has no record of that.

    Without `surge` a pod that it no longer describes ends before another takes its place.
    """
    metadata = live["metadata"]
    made_with = record_of(live)
    if made_with is None:
        return None
    identity = {name: metadata[name] for name in ("uid", "namespace", "name")}
    kept = {
        name: metadata["annotations"][name]
        for name in (MODEL_ANNOTATION, MADE_WITH_ANNOTATION)
        if name in metadata["annotations"]
    }
    notes = {**annotations, **kept}
    made = _deployment(identity, made_with, replicas=replicas, annotations=notes)
    return made if surge else {**made, "spec": {**made["spec"], "strategy": ONE_BY_ONE}}


def notes_of(live: Mapping[str, Any]) -> dict[str, str]:
    """Return what the rollout has noted on a Deployment."""
    annotations = live["metadata"].get("annotations", {})
    return {name: annotations[name] for name in NOTES if name in annotations}


def rescaled(live: Mapping[str, Any], *, replicas: int, annotations: Mapping[str, str]) -> dict[str, Any]:
    """Return a live Deployment with other replicas and further notes; its template stays as it lives."""
    metadata = live["metadata"]
    kept = {
        name: value
        for name, value in metadata.get("annotations", {}).items()
        if name.startswith(f"{names.GROUP}/") and name != names.DESIRED_HASH_ANNOTATION
    }
    return {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": DEPLOYMENTS.kind,
        "metadata": {
            "uid": metadata["uid"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "labels": metadata.get("labels", {}),
            "annotations": {**kept, **annotations},
        },
        "spec": {**live["spec"], "replicas": replicas},
    }


def service(namespace: str, name: str) -> dict[str, Any]:
    """Return the Service in front of the pods of all revisions: those that are ready get requests."""
    own = {names.MODELDEPLOYMENT_LABEL: name}
    return {
        "apiVersion": SERVICES.api_version,
        "kind": SERVICES.kind,
        "metadata": {"namespace": namespace, "name": name, "labels": own},
        "spec": {
            "type": "ClusterIP",
            "selector": own,
            "ports": [
                {"name": "http", "port": SERVICE_PORT, "targetPort": names.OPENAI_PORT, "protocol": "TCP"}
            ],
        },
    }


def _deployment(
    metadata: Mapping[str, Any],
    made_with: Mapping[str, Any],
    *,
    replicas: int,
    annotations: Mapping[str, str],
) -> dict[str, Any]:
    """Put a Deployment together; `metadata` names it, and where it lives also which very one is meant, by its UID.

    Made anew without the UID, one that was deleted between look and write would keep its old notes.
    """
    return {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": DEPLOYMENTS.kind,
        "metadata": {**metadata, "labels": made_with["labels"], "annotations": annotations},
        "spec": {**made_with["spec"], "replicas": replicas},
    }


def _recorded(made_with: Mapping[str, Any]) -> dict[str, str]:
    text = json.dumps(made_with, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {MADE_WITH_ANNOTATION: text} if len(text.encode()) <= LARGEST_RECORD_BYTES else {}


def record_of(live: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return labels and spec that a Deployment was made with, as it says itself.

    None where it does not, as those of version 0.1.0 and before, or where somebody else spoilt it.
    """
    try:
        found = json.loads(live["metadata"].get("annotations", {}).get(MADE_WITH_ANNOTATION) or "")
    except ValueError:
        return None
    whole = isinstance(found, dict) and isinstance(found.get("labels"), dict)
    return found if whole and isinstance(found.get("spec"), dict) and "template" in found["spec"] else None
