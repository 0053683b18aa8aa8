"""The pods of the Jobs: one container, its resources and what it mounts."""

from __future__ import annotations

from typing import Any, Final

from modelgarden.api import names
from modelgarden.api.common import Resources
from modelgarden.finetune.programs import PREPARE, PUBLISH, TRAIN
from modelgarden.finetune.subject import Subject
from modelgarden.finetune.volumes import mounted_sources
from modelgarden.settings import Settings
from modelgarden.workloads import podspec
from modelgarden.workloads.endings import Program

_GRACE_SECONDS: Final = {PREPARE: 30, TRAIN: 120, PUBLISH: 30}
"""Training checkpoints to S3 within it."""


def pod_spec(
    subject: Subject,
    settings: Settings,
    program: Program,
    resources: Resources,
    *,
    environment: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return the spec of the pods of a Job."""
    container = podspec.container(
        program.container,
        podspec.Image(settings.train_image, settings.image_pull_policy),
        args=[program.container],
        environment=environment,
        resources=podspec.compute(resources, gpus=not settings.without_gpus),
    )
    container["command"] = ["python", "-m", "modelgarden_train"]
    if program == TRAIN:
        container["ports"] = [{"name": "metrics", "containerPort": names.PROGRESS_PORT, "protocol": "TCP"}]
        container["readinessProbe"] = {"httpGet": {"path": "/readyz", "port": "metrics"}, "periodSeconds": 5}
    spec = podspec.pod_spec(
        subject.spec.pod_template,
        containers=[container],
        restart_policy="Never",
        grace_seconds=_GRACE_SECONDS[program],
    )
    if program == PREPARE:
        volumes, mounts = mounted_sources(source.uri for source in subject.spec.dataset.all_sources)
        spec["volumes"] = [*spec["volumes"], *volumes]
        container["volumeMounts"] = [*container["volumeMounts"], *mounts]
    if resources.gpus:
        # Data loaders and NCCL pass tensors through shared memory, of which a container has 64 MiB by default.
        spec["volumes"] = [*spec["volumes"], {"name": "shared-memory", "emptyDir": {"medium": "Memory"}}]
        mount = {"name": "shared-memory", "mountPath": "/dev/shm"}  # noqa: S108 -- a mount point
        container["volumeMounts"] = [*container["volumeMounts"], mount]
    return spec
