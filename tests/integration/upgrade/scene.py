"""Where the recorded resources live: one namespace with what their pods refer to, and a bucket of the same name.

The name is part of what is recorded, so both the recorder and the test use this one.
"""

from __future__ import annotations

from hack.cluster import S3Server
from modelgarden.kube.resources import (
    DEPLOYMENTS,
    FINETUNEJOBS,
    JOBS,
    MODELDEPLOYMENTS,
    PODS,
    SERVICES,
    Resource,
)
from tests.integration.harness.api import NAMESPACES, REPLICA_SETS, SERVICE_ACCOUNTS, Api, Obj
from tests.integration.harness.garden import Garden

NAMESPACE = "upgrade"
SERVICE_ACCOUNT = "server"
PRIORITY_CLASS = "serving"
RUNTIME_CLASS = "nvidia"
S3_ENDPOINT = "${S3_ENDPOINT}"
"""Stands in the records for the S3 server's URL, which differs from run to run."""

OWNERS: dict[str, tuple[Resource, str]] = {
    "preparing": (FINETUNEJOBS, "Preparing"),
    "training": (FINETUNEJOBS, "Training"),
    "suspended": (FINETUNEJOBS, "Suspended"),
    "blocked": (FINETUNEJOBS, "Blocked"),
    "complete": (FINETUNEJOBS, "Complete"),
    "of-job": (MODELDEPLOYMENTS, "Ready"),
    "of-folder": (MODELDEPLOYMENTS, "Ready"),
    "with-all": (MODELDEPLOYMENTS, "Ready"),
    "rolling": (MODELDEPLOYMENTS, "RollingOut"),
    "rolled-back": (MODELDEPLOYMENTS, "Degraded"),
}
"""The recorded resources by name, and the phase that each rests in. Each has a file of its own name."""

RECORDED = (FINETUNEJOBS, MODELDEPLOYMENTS, JOBS, DEPLOYMENTS, REPLICA_SETS, SERVICES, PODS)
"""Kinds of what is recorded, owners before what they own."""

_PRIORITY_CLASSES = Resource("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass")
_RUNTIME_CLASSES = Resource("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass")


def prepare(api: Api, s3: S3Server) -> Garden:
    """Make the namespace, and the accounts and classes that its pods name."""
    api.apply(NAMESPACES, _object(NAMESPACES, NAMESPACE))
    for account in ("default", SERVICE_ACCOUNT):
        api.apply(SERVICE_ACCOUNTS, _object(SERVICE_ACCOUNTS, account, namespace=NAMESPACE))
    api.apply(_PRIORITY_CLASSES, {**_object(_PRIORITY_CLASSES, PRIORITY_CLASS), "value": 1000})
    api.apply(_RUNTIME_CLASSES, {**_object(_RUNTIME_CLASSES, RUNTIME_CLASS), "handler": "nvidia"})
    return Garden(api, s3, NAMESPACE)


def _object(resource: Resource, name: str, **metadata: str) -> Obj:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, **metadata},
    }
