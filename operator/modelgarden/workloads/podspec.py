"""What every pod of the operator has in common: restricted Pod Security, scratch space, configuration, credentials.

Pure. FineTuneJobs and ModelDeployments build their pods from these parts and add what is their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from modelgarden.api import names
from modelgarden.api.access import OPTIONAL_SECRET_KEYS, Storage
from modelgarden.api.base import ApiModel
from modelgarden.api.common import PodTemplate, Resources

USER: Final = 65532
WORKSPACE: Final = "/workspace"
"""Home, caches and model files: the pod's own disk, kept when a container starts again."""
GPU_RESOURCE: Final = "nvidia.com/gpu"

_POD_SECURITY: Final[dict[str, Any]] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONTAINER_SECURITY: Final[dict[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_SCRATCH: Final = (("workspace", WORKSPACE), ("tmp", "/tmp"))  # noqa: S108 -- mount point of an emptyDir


@dataclass(frozen=True)
class Image:
    """A container image and when it is pulled."""

    name: str
    pull_policy: str


def container(
    name: str, image: Image, *, args: list[str], environment: list[dict[str, Any]], resources: dict[str, Any]
) -> dict[str, Any]:
    """Return a container under the restricted profile with a read-only root and scratch space."""
    return {
        "name": name,
        "image": image.name,
        "imagePullPolicy": image.pull_policy,
        "args": args,
        "env": environment,
        "resources": resources,
        "securityContext": _CONTAINER_SECURITY,
        "terminationMessagePolicy": "File",
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in _SCRATCH],
    }


def pod_spec(
    template: PodTemplate,
    *,
    containers: list[dict[str, Any]],
    init_containers: list[dict[str, Any]] | None = None,
    restart_policy: str,
    grace_seconds: int,
) -> dict[str, Any]:
    """Return a pod's spec with what the user's template adds to it."""
    spec: dict[str, Any] = {
        "restartPolicy": restart_policy,
        "terminationGracePeriodSeconds": grace_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _POD_SECURITY,
        "containers": containers,
        "volumes": [{"name": volume, "emptyDir": {}} for volume, _ in _SCRATCH],
    }
    if init_containers:
        spec["initContainers"] = init_containers
    wire = template.to_dict()
    added = (
        "nodeSelector", "tolerations", "priorityClassName", "runtimeClassName", "serviceAccountName",
        "imagePullSecrets",
    )  # fmt: skip
    return {**spec, **{name: wire[name] for name in added if wire.get(name)}}


def environment(config: ApiModel) -> list[dict[str, Any]]:
    """Return the variables that carry a container's configuration and the identity of its pod."""
    return [
        {"name": names.CONFIG_VARIABLE, "value": config.model_dump_json(by_alias=True, exclude_none=True)},
        {"name": names.ATTEMPT_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
    ]


def credentials(storage: Storage) -> list[dict[str, Any]]:
    """Return the variables with the keys of the storage's secrets, none where it names none."""
    required = [secret_variable(secret, key) for secret, keys in storage.secrets for key in keys]
    if storage.credentials_secret_ref is None:
        return required
    secret = storage.credentials_secret_ref.name
    return [*required, *(secret_variable(secret, key, optional=True) for key in OPTIONAL_SECRET_KEYS)]


def secret_variable(
    secret: str, key: str, *, optional: bool = False, variable: str | None = None
) -> dict[str, Any]:
    """Return a variable with what a key of a secret holds; its name is the key where no other is given."""
    reference: dict[str, Any] = {"name": secret, "key": key}
    if optional:
        reference["optional"] = True
    return {"name": variable or key, "valueFrom": {"secretKeyRef": reference}}


def compute(resources: Resources, *, gpus: bool = True) -> dict[str, Any]:
    """Return requests and limits. CPU has no limit, because throttling slows and saves nothing."""
    requests: dict[str, Any] = {"cpu": str(resources.cpu), "memory": str(resources.memory)}
    limits: dict[str, Any] = {"memory": str(resources.memory)}
    if gpus and resources.gpus:
        requests[GPU_RESOURCE] = limits[GPU_RESOURCE] = str(resources.gpus)
    return {"requests": requests, "limits": limits}
