"""The pods of a ModelDeployment: `fetch` fills the model folder, `serve` runs vLLM on it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from modelgarden.api import names
from modelgarden.api.layout import MANIFEST, in_gcs
from modelgarden.api.modeldeployment import Engine, ModelDeploymentSpec, ServedArtifact
from modelgarden.api.pods import PodStorage, ServeConfig
from modelgarden.carbon.factors import carbon_factors
from modelgarden.settings import Settings
from modelgarden.workloads.podspec import (
    WORKSPACE,
    Image,
    compute,
    container,
    credentials,
    environment,
    pod_spec,
)

DRAIN_SECONDS: Final = 60
"""How long requests that are under way may take once a pod is told to end."""
GRACE_SECONDS: Final = DRAIN_SECONDS + 30
"""Drain, before it the wait until no new request is routed to the pod, after it the last energy sample."""
PROBE_SECONDS: Final = 5
SERVE: Final = "serve"
FETCH: Final = "fetch"
ENGINE_PATIENCE: Final = "VLLM_ENGINE_READY_TIMEOUT_S"
"""Variable with the seconds that vLLM gives its own engine."""

_PARALLEL_FLAGS: Final = ("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size")


# Without a GPU the model runs on as many threads as CPUs were requested; all of the node's would get in each other's way.
_THREADS: Final[dict[str, Any]] = {
    "name": "OMP_NUM_THREADS",
    "valueFrom": {"resourceFieldRef": {"containerName": SERVE, "resource": "requests.cpu", "divisor": "1"}},
}


@dataclass(frozen=True)
class Wanted:
    """One ModelDeployment and the artifact that it is to serve."""

    namespace: str
    name: str
    spec: ModelDeploymentSpec
    artifact: ServedArtifact
    settings: Settings

    @property
    def served_name(self) -> str:
        """Return the model name of the OpenAI API."""
        return self.spec.served_model_name or self.name

    @property
    def model(self) -> str:
        """Return the identity of what is served."""
        return f"{self.served_name}@{self.artifact.sha256}"


def serve_config(wanted: Wanted) -> ServeConfig:
    """Return what fetch and serve are told."""
    spec, artifact = wanted.spec, wanted.artifact
    has_manifest = artifact.uri.endswith(f"/{MANIFEST}")
    return ServeConfig(
        schema_version="2.0" if in_gcs(artifact.uri) else "1.0",
        model_uri=artifact.uri,
        manifest_sha256=artifact.sha256 if has_manifest else None,
        listing_sha256=None if has_manifest else artifact.sha256,
        served_model_name=wanted.served_name,
        model_dir=f"{WORKSPACE}/model",
        engine_args=engine_args(spec.engine, gpus=spec.resources.gpus),
        drain_seconds=DRAIN_SECONDS,
        gpus=spec.resources.gpus,
        storage=PodStorage.of(spec.storage),
        carbon=carbon_factors(spec.carbon, wanted.settings),
    )


def engine_args(engine: Engine, *, gpus: int) -> tuple[str, ...]:
    """Return the arguments of `vllm serve`. Several GPUs share the model by tensor parallelism unless told otherwise."""
    args, extra = engine.args, engine.extra_args
    known: list[str] = []
    if args.max_model_len is not None:
        known.append(f"--max-model-len={args.max_model_len}")
    if args.gpu_memory_utilization is not None:
        known.append(f"--gpu-memory-utilization={args.gpu_memory_utilization}")
    if args.max_num_seqs is not None:
        known.append(f"--max-num-seqs={args.max_num_seqs}")
    if args.dtype != "auto":
        known.append(f"--dtype={args.dtype}")
    if args.enforce_eager:
        known.append("--enforce-eager")
    if gpus > 1 and not any(argument.split("=")[0] in _PARALLEL_FLAGS for argument in extra):
        known.append(f"--tensor-parallel-size={gpus}")
    return (*known, *extra)


def template(wanted: Wanted) -> dict[str, Any]:
    """Return the pod template that this version of the operator makes for the wanted model."""
    spec = wanted.spec
    annotations = spec.pod_template.annotations
    image = Image(wanted.settings.serve_image, wanted.settings.image_pull_policy)
    config = environment(serve_config(wanted))
    fetch = container(
        FETCH, image, args=[FETCH], environment=[*config, *credentials(spec.storage)],
        resources=compute(spec.resources, gpus=False),
    )  # fmt: skip
    pod = pod_spec(
        spec.pod_template,
        containers=[_serve(image, config, spec)],
        init_containers=[fetch],
        restart_policy="Always",
        grace_seconds=GRACE_SECONDS,
    )
    pod["volumes"].append({"name": "shared-memory", "emptyDir": {"medium": "Memory"}})
    return {
        "metadata": {
            "labels": {
                **spec.pod_template.labels,
                names.MANAGED_BY_LABEL: names.MANAGED_BY,
                names.MODELDEPLOYMENT_LABEL: wanted.name,
            },
            **({"annotations": dict(annotations)} if annotations else {}),
        },
        "spec": pod,
    }


def _serve(image: Image, config: list[dict[str, Any]], spec: ModelDeploymentSpec) -> dict[str, Any]:
    deadline = spec.rollout.progress_deadline_seconds
    # vLLM gives up on its own engine after 10 minutes, which a large model may need longer than.
    patience = {"name": ENGINE_PATIENCE, "value": str(deadline)}
    variables = [*config, patience, *([] if spec.resources.gpus else [_THREADS])]
    serve = container(SERVE, image, args=[SERVE], environment=variables, resources=compute(spec.resources))
    serve["ports"] = [
        {"name": "http", "containerPort": names.OPENAI_PORT, "protocol": "TCP"},
        {"name": "metrics", "containerPort": names.PROGRESS_PORT, "protocol": "TCP"},
    ]
    # vLLM's processes exchange tensors through /dev/shm, of which a container has 64 MiB.
    serve["volumeMounts"] = [
        *serve["volumeMounts"],
        {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108 -- mount point of an emptyDir
    ]
    serve["startupProbe"] = _probe("/healthz", failures=math.ceil(deadline / PROBE_SECONDS))
    # One slow answer under load is no reason to leave the Service; a pod that is deleted leaves it without a probe.
    serve["readinessProbe"] = _probe("/readyz", failures=3)
    serve["livenessProbe"] = _probe("/healthz", failures=6)
    return serve


def _probe(path: str, *, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": names.PROGRESS_PORT},
        "periodSeconds": PROBE_SECONDS,
        "timeoutSeconds": 4,
        "failureThreshold": failures,
    }
