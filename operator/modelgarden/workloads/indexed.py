"""A Job of several pods that work together, and the Service that gives them names. Pure.

An Indexed Job whose parallelism is its completions is one workload to a queue such as Kueue: all of its pods start, or none.
Whichever of them ends too early fails the whole Job at once, so that a Job is one attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from modelgarden.api import names
from modelgarden.kube.resources import SERVICES

_HOSTNAME: Final = "kubernetes.io/hostname"


def grouped(job: Mapping[str, Any], *, nodes: int, service: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Job of one pod as one of several: each on a node of its own where the scheduler finds one.

    Two of them on one node train the same: they share no GPU. So it is no condition, which could have GPUs wait in vain.
    """
    spec = job["spec"]
    template = spec["template"]
    (container,) = (one["name"] for one in template["spec"]["containers"])
    spread = {
        "maxSkew": 1,
        "topologyKey": _HOSTNAME,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": service["spec"]["selector"]},
    }
    pod = {
        **template["spec"],
        "subdomain": service["metadata"]["name"],
        "topologySpreadConstraints": [spread],
    }
    group = {
        "completionMode": "Indexed",
        "completions": nodes,
        "parallelism": nodes,
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": _any_end_fails(container)},
        "template": {**template, "spec": pod},
    }
    return {**job, "spec": {**spec, **group}}


def _any_end_fails(container: str) -> list[dict[str, Any]]:
    """Return rules by which any pod's end fails the Job, but for one whose Job was suspended, or that was deleted."""
    stopped = {"containerName": container, "operator": "In", "values": [names.EXIT_TERMINATED]}
    failed = {"containerName": container, "operator": "NotIn", "values": [names.EXIT_TERMINATED]}
    return [
        {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": failed},
        {"action": "Ignore", "onExitCodes": stopped},
    ]


def headless_service(namespace: str, name: str, *, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return a Service that gives pods names, before they are ready too: they meet while they start."""
    port = {"name": "group", "port": names.GROUP_PORT, "protocol": "TCP", "targetPort": names.GROUP_PORT}
    return {
        "apiVersion": SERVICES.api_version,
        "kind": SERVICES.kind,
        "metadata": {"namespace": namespace, "name": name, "labels": dict(labels)},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": dict(labels),
            "ports": [port],
        },
    }


def host_of(name: str, index: int, *, namespace: str, domain: str) -> str:
    """Return the name of a pod of an Indexed Job with a Service of the same name."""
    return f"{name}-{index}.{name}.{namespace}.svc.{domain}"
