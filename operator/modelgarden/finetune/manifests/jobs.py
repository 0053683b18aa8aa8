"""What the Jobs of a FineTuneJob have in common: their names, labels and what follows an exit of a pod.

A Job's pod template cannot change, so a Job is applied once. What can change later is applied with `amended`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from modelgarden.api import names
from modelgarden.api.common import Resources
from modelgarden.finetune.manifests.pods import pod_spec
from modelgarden.finetune.programs import TRAIN
from modelgarden.finetune.subject import Subject
from modelgarden.kube.resources import JOBS
from modelgarden.settings import Settings
from modelgarden.workloads.endings import Program

_SCRAPE: Final = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(names.PROGRESS_PORT),
    "prometheus.io/path": "/metrics",
}


def job_name(name: str, program: Program) -> str:
    """Return the name of a FineTuneJob's Job."""
    return f"{name}-{program.container}"


def job_of(
    subject: Subject,
    settings: Settings,
    program: Program,
    resources: Resources,
    *,
    environment: list[dict[str, Any]],
    backoff_limit: int,
) -> dict[str, Any]:
    """Return the Job that runs a program of a FineTuneJob."""
    template = subject.spec.pod_template
    labels = {
        **template.labels,
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.FINETUNEJOB_LABEL: subject.name,
        names.STEP_LABEL: program.container,
    }
    metadata: dict[str, Any] = {"labels": labels}
    annotations = {**(_SCRAPE if program == TRAIN else {}), **template.annotations}
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            "namespace": subject.namespace,
            "name": job_name(subject.name, program),
            "labels": labels,
        },
        "spec": {
            "backoffLimit": backoff_limit,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules(program)},
            "template": {
                "metadata": metadata,
                "spec": pod_spec(subject, settings, program, resources, environment=environment),
            },
        },
    }


def _failure_rules(program: Program) -> list[dict[str, Any]]:
    def on_exit(action: str, *codes: int) -> dict[str, Any]:
        return {
            "action": action,
            "onExitCodes": {"containerName": program.container, "operator": "In", "values": sorted(codes)},
        }

    return [
        on_exit("FailJob", names.EXIT_USER_ERROR),
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        on_exit("Ignore", names.EXIT_TEMPORARY, names.EXIT_TERMINATED),
    ]


def amended(
    live: Mapping[str, Any], *, suspend: bool | None = None, backoff_limit: int | None = None
) -> dict[str, Any]:
    """Return a live Job with other values of what may change in it, everything else as it is.

    Server-side apply drops what is left out and the template cannot change, so the live template is sent back, not
    one that this version of the operator would build. With the resourceVersion a Job that changed meanwhile is a
    conflict, not overwritten.
    """
    metadata = live["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "ownerReferences")
    annotations = dict(metadata.get("annotations", {}))
    spec = dict(live["spec"])
    if suspend is not None:
        spec["suspend"] = suspend
        annotations.pop(names.SUSPENDED_ANNOTATION, None)
        if suspend:
            annotations[names.SUSPENDED_ANNOTATION] = "true"
    if backoff_limit is not None:
        spec["backoffLimit"] = backoff_limit
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            **{name: metadata[name] for name in kept if name in metadata},
            "annotations": annotations,
        },
        "spec": spec,
    }
