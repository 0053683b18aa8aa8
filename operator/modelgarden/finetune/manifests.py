"""The Jobs of a FineTuneJob, as manifests: `<name>-prepare` on a CPU, `<name>-train`, `<name>-publish` on a CPU. Pure.

A Job's pod template cannot change, so a Job is applied once. What can change later is applied with `amended`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from modelgarden.api import names
from modelgarden.api.common import Resources
from modelgarden.api.emissions import EmissionsRecord, folded
from modelgarden.api.finetunejob import STALL_TIMEOUT_SECONDS, ArtifactStatus, Objective, Trackers, Vision
from modelgarden.api.layout import datasets_uri, in_gcs
from modelgarden.api.pods import PodDataset, PodGroup, PodStorage, PublishConfig, RunConfig
from modelgarden.carbon.factors import carbon_factors
from modelgarden.finetune.programs import PREPARE, PUBLISH, TRAIN
from modelgarden.finetune.subject import Subject
from modelgarden.finetune.trackers import tracker_variables
from modelgarden.finetune.volumes import mounted_sources
from modelgarden.kube.quantities import smaller
from modelgarden.kube.resources import JOBS
from modelgarden.settings import Settings
from modelgarden.workloads import podspec
from modelgarden.workloads.endings import Program
from modelgarden.workloads.indexed import grouped, headless_service, host_of

PREPARE_BACKOFF_LIMIT: Final = 2
PREPARE_CPU: Final = "500m"
PREPARE_MEMORY: Final = "2Gi"
PUBLISH_BACKOFF_LIMIT: Final = 2
_GRACE_SECONDS: Final = {PREPARE: 30, TRAIN: 120, PUBLISH: 30}
"""Training checkpoints to S3 within it."""
_MOST_TOLD_ATTEMPTS: Final = 8
"""Of the emissions that a publish pod is told, so that its configuration stays small; the others are summed into one."""


def job_name(name: str, program: Program) -> str:
    """Return the name of a FineTuneJob's Job."""
    return f"{name}-{program.container}"


def prepare_job(subject: Subject, settings: Settings, *, inputs_hash: str) -> dict[str, Any]:
    """Return the Job that checks and converts the dataset, on a CPU."""
    training, asked = subject.spec.resources, subject.spec.dataset.resources
    resources = training.model_copy(
        update={
            "gpus": 0,
            "cpu": asked.cpu or smaller(training.cpu, PREPARE_CPU),
            "memory": asked.memory or smaller(training.memory, PREPARE_MEMORY),
        }
    )
    environment = _environment(subject, settings, PREPARE)
    job = _job(
        subject, settings, PREPARE, resources, environment=environment, backoff_limit=PREPARE_BACKOFF_LIMIT
    )
    job["metadata"]["annotations"] = {names.INPUTS_HASH_ANNOTATION: inputs_hash}
    return job


def train_job(subject: Subject, settings: Settings) -> dict[str, Any]:
    """Return the Job that trains, evaluates and uploads; of several nodes it is one attempt."""
    resources, limit = subject.spec.resources, subject.spec.backoff_limit
    environment = _environment(subject, settings, TRAIN)
    job = _job(subject, settings, TRAIN, resources, environment=environment, backoff_limit=limit)
    if resources.nodes == 1:
        return job
    return grouped(job, nodes=resources.nodes, service=train_service(subject))


def train_objects(subject: Subject, settings: Settings) -> tuple[dict[str, Any], ...]:
    """Return all that a training takes: its Job, before it the Service by which several nodes find each other."""
    job = train_job(subject, settings)
    return (train_service(subject), job) if subject.spec.resources.nodes > 1 else (job,)


def train_service(subject: Subject) -> dict[str, Any]:
    """Return the headless Service that gives the pods of several nodes their names."""
    return headless_service(
        subject.namespace,
        job_name(subject.name, TRAIN),
        labels={names.FINETUNEJOB_LABEL: subject.name, names.STEP_LABEL: TRAIN.container},
    )


def publish_job(
    subject: Subject, settings: Settings, artifact: ArtifactStatus, *, inputs_hash: str
) -> dict[str, Any]:
    """Return the Job that brings a registered artifact to the hub, on a CPU.

    Raises:
        ValueError: the spec names no hub.
    """
    hub, training = subject.spec.output.hub, subject.spec.resources
    if hub is None:
        raise ValueError("the spec names no hub")
    carbon = subject.status.carbon
    config = PublishConfig(
        run=subject.run,
        run_uri=str(subject.folder),
        model_name=artifact.model_name,
        version=artifact.version,
        manifest_sha256=artifact.manifest_sha256,
        hub=hub,
        storage=PodStorage.of(subject.spec.storage),
        emissions=carbon and _short(carbon),
    )
    resources = training.model_copy(
        update={
            "gpus": 0,
            "cpu": smaller(training.cpu, PREPARE_CPU),
            "memory": smaller(training.memory, PREPARE_MEMORY),
        }
    )
    token = hub.token_secret_ref.name
    environment = [
        *podspec.environment(config),
        *podspec.credentials(subject.spec.storage),
        podspec.secret_variable(token, names.HUB_TOKEN_KEY, variable=names.OUTPUT_TOKEN_VARIABLE),
        {"name": "HOME", "value": podspec.WORKSPACE},
        *_WITHOUT_GPUS,
    ]
    job = _job(
        subject, settings, PUBLISH, resources, environment=environment, backoff_limit=PUBLISH_BACKOFF_LIMIT
    )
    job["metadata"]["annotations"] = {names.INPUTS_HASH_ANNOTATION: inputs_hash}
    return job


def _short(record: EmissionsRecord) -> EmissionsRecord:
    return record.model_copy(update={"attempts": folded(record.attempts, most=_MOST_TOLD_ATTEMPTS)})


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


def _job(
    subject: Subject,
    settings: Settings,
    program: Program,
    resources: Resources,
    *,
    environment: list[dict[str, Any]],
    backoff_limit: int,
) -> dict[str, Any]:
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
                "spec": _pod_spec(subject, settings, program, resources, environment=environment),
            },
        },
    }


_SCRAPE: Final = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(names.PROGRESS_PORT),
    "prometheus.io/path": "/metrics",
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


def _pod_spec(
    subject: Subject,
    settings: Settings,
    program: Program,
    resources: Resources,
    *,
    environment: list[dict[str, Any]],
) -> dict[str, Any]:
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


def _prepares_tokens(subject: Subject) -> list[dict[str, Any]]:
    """Return the variables with the hub tokens of the dataset's sources, and that of the hub that is published on."""
    hub = subject.spec.output.hub
    output = (
        podspec.secret_variable(
            hub.token_secret_ref.name, names.HUB_TOKEN_KEY, variable=names.OUTPUT_TOKEN_VARIABLE
        )
        if hub is not None
        else None
    )
    sources = [
        podspec.secret_variable(
            source.token_secret_ref.name, names.HUB_TOKEN_KEY, variable=names.source_token_variable(number)
        )
        for number, source in enumerate(subject.spec.dataset.all_sources)
        if source.token_secret_ref is not None
    ]
    return [*sources, *([output] if output is not None else [])]


_WITHOUT_GPUS: Final[tuple[dict[str, str], ...]] = (
    # A node whose default runtime is NVIDIA's would show all its GPUs to a pod that asked for none.
    {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"},
    {"name": "CUDA_VISIBLE_DEVICES", "value": ""},
)
_WITH_GPUS: Final[tuple[dict[str, str], ...]] = ({"name": "UNSLOTH_DISABLE_CPU_FALLBACK", "value": "1"},)
_ON_CPUS: Final[tuple[dict[str, str], ...]] = (
    *_WITHOUT_GPUS,
    {"name": names.WITHOUT_GPUS_VARIABLE, "value": "1"},
)
"""Of a training pod on a cluster of development: its processes know that they are to go without the GPUs of the spec."""


def _environment(subject: Subject, settings: Settings, program: Program) -> list[dict[str, Any]]:
    token = subject.spec.model.token_secret_ref
    device = _WITHOUT_GPUS
    if program == TRAIN and subject.spec.resources.gpus:
        device = _ON_CPUS if settings.without_gpus else _WITH_GPUS
    return [
        *podspec.environment(_run_config(subject, settings, program)),
        *podspec.credentials(subject.spec.storage),
        *([podspec.secret_variable(token.name, names.HUB_TOKEN_KEY)] if token else []),
        *(_prepares_tokens(subject) if program == PREPARE else tracker_variables(subject.spec.trackers)),
        {"name": "HOME", "value": podspec.WORKSPACE},
        *device,
    ]


_FOURTH_KNOWS: Final = 2
"""Minor version of the second and third, with all of which the fourth major version came."""
_FIFTH_KNOWS: Final = 5
"""The same of the fifth."""


def _schema_version(subject: Subject) -> str:
    """Return the lowest version of the configuration that says all that a job needs."""
    spec = subject.spec
    if spec.modality != "Text" or spec.output.hub is not None or spec.resources.nodes > 1:
        return "7.0"
    if spec.objective.grpo is not None:
        return "6.0"
    needs = {
        9: "GGUF" in spec.output.formats,
        8: spec.stall_timeout_seconds != STALL_TIMEOUT_SECONDS,
        7: spec.training.optimizer != "AdamW",
        6: spec.training.validation is not None,
        5: spec.trackers.wandb is not None,
        4: spec.trackers.mlflow is not None,
        3: spec.objective != Objective(),
        2: spec.trackers.tensorboard is not None,
        1: subject.status.parent is not None,
    }
    minor = next((minor for minor, needed in needs.items() if needed), 0)
    if any(map(in_gcs, (subject.base, spec.output.uri, *spec.data))):
        return f"5.{max(0, minor - _FIFTH_KNOWS)}"
    if not spec.training.of_first_form:
        return f"4.{max(0, minor - _FOURTH_KNOWS)}"
    return f"{3 if spec.dataset.validation_sources else 2}.{minor}"


def _run_config(subject: Subject, settings: Settings, program: Program) -> RunConfig:
    spec, trains = subject.spec, program == TRAIN
    return RunConfig(
        schema_version=_schema_version(subject),
        run=subject.run,
        run_uri=str(subject.folder),
        model_source=subject.base,
        model_revision=spec.model.revision,
        parent=subject.status.parent,
        method=spec.method,
        vision=(spec.vision or Vision()) if spec.modality == "Vision" else None,
        objective=spec.objective,
        dataset=PodDataset.of(spec.dataset),
        allowed_hosts=settings.dataset_allowed_hosts,
        dry_run=spec.dry_run,
        training=spec.training,
        formats=spec.output.formats,
        gguf=spec.output.gguf,
        model_name=spec.output.model_name,
        hub=spec.output.hub,
        checkpoint=spec.checkpoint,
        stall_timeout_seconds=spec.stall_timeout_seconds,
        evaluation=spec.evaluation,
        storage=PodStorage.of(spec.storage),
        datasets_uri=datasets_uri(spec.output.uri, namespace=subject.namespace),
        carbon=carbon_factors(spec.carbon, settings),
        trackers=spec.trackers if spec.trackers != Trackers() else None,
        gpus=spec.resources.gpus if trains else 0,
        group=_group(subject, settings) if trains else None,
        image=settings.train_image,
    )


def _group(subject: Subject, settings: Settings) -> PodGroup | None:
    """Return how the pods of several nodes find each other, None for a training on one."""
    if subject.spec.resources.nodes == 1:
        return None
    service = job_name(subject.name, TRAIN)
    host = host_of(service, 0, namespace=subject.namespace, domain=settings.cluster_domain)
    return PodGroup(nodes=subject.spec.resources.nodes, host=host)
