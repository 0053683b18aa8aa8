"""The children of a ModelDeployment as manifests: one Deployment per revision, and the Service. Pure.

A revision is the hash of its pod template, so what changes a pod's work makes a new one. Given to the pods beside it
are the carbon factors and the pull policy: a Deployment's template keeps those that it was made with.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from modelgarden.api import names
from modelgarden.api.documents import OPERATOR, DocumentError
from modelgarden.api.layout import MANIFEST
from modelgarden.api.modeldeployment import Engine, ModelDeploymentSpec, ServedArtifact
from modelgarden.api.pods import PodCarbon, PodStorage, ServeConfig
from modelgarden.carbon.factors import carbon_factors
from modelgarden.kube.resources import DEPLOYMENTS, SERVICES
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
SERVICE_PORT: Final = 80
SERVE: Final = "serve"
FETCH: Final = "fetch"

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


@dataclass(frozen=True)
class _Given:
    """What is given to the pods beside the revision: no pod is worth replacing for another value of it."""

    carbon: PodCarbon
    pull_policy: str


_UNHASHED: Final = _Given(PodCarbon(), "IfNotPresent")


def revision_name(wanted: Wanted) -> str:
    """Return the hash of what reaches the pods; status applies newer carbon factors without a new pod."""
    text = json.dumps(_template(wanted, _UNHASHED), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


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
    wanted: Wanted,
    *,
    replicas: int,
    annotations: Mapping[str, str],
    live: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the Deployment of the wanted revision; where it is live, its template stays as it was made."""
    revision = revision_name(wanted)
    own = {names.MODELDEPLOYMENT_LABEL: wanted.name, names.REVISION_LABEL: revision}
    template = _template(wanted, _given(wanted, live))
    template["metadata"]["labels"][names.REVISION_LABEL] = revision
    return {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": DEPLOYMENTS.kind,
        "metadata": {
            **_uid(live),
            "namespace": wanted.namespace,
            "name": deployment_name(wanted.name, revision),
            "labels": {**wanted.spec.pod_template.labels, **own},
            "annotations": {**annotations, MODEL_ANNOTATION: wanted.model},
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": wanted.spec.rollout.progress_deadline_seconds,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "selector": {"matchLabels": own},
            "template": template,
        },
    }


def rescaled(live: Mapping[str, Any], *, replicas: int, annotations: Mapping[str, str]) -> dict[str, Any]:
    """Return the Deployment of an earlier revision with other replicas; its template stays as it lives."""
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
            **_uid(live),
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "labels": metadata.get("labels", {}),
            "annotations": {**kept, **annotations},
        },
        "spec": {**live["spec"], "replicas": replicas},
    }


def _uid(live: Mapping[str, Any] | None) -> dict[str, str]:
    """Return which very Deployment is meant: made anew without it, one that was deleted would keep its old notes."""
    return {} if live is None else {"uid": live["metadata"]["uid"]}


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


def serve_config(wanted: Wanted) -> ServeConfig:
    """Return what fetch and serve are told."""
    spec, artifact = wanted.spec, wanted.artifact
    has_manifest = artifact.uri.endswith(f"/{MANIFEST}")
    return ServeConfig(
        model_uri=artifact.uri,
        manifest_sha256=artifact.sha256 if has_manifest else None,
        listing_sha256=None if has_manifest else artifact.sha256,
        served_model_name=wanted.served_name,
        model_dir=f"{WORKSPACE}/model",
        engine_args=engine_args(spec.engine, gpus=spec.resources.gpus),
        drain_seconds=DRAIN_SECONDS,
        gpus=spec.resources.gpus,
        storage=PodStorage(endpoint=spec.storage.endpoint, region=spec.storage.region),
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


def _given(wanted: Wanted, live: Mapping[str, Any] | None) -> _Given:
    """Return what a live Deployment's pods were given; what the operator gives now for one that is yet to be made."""
    now = _Given(carbon_factors(wanted.spec.carbon, wanted.settings), wanted.settings.image_pull_policy)
    if live is None:
        return now
    serve = _named(live["spec"]["template"]["spec"]["containers"], SERVE)
    try:
        config = ServeConfig.read(_named(serve["env"], names.CONFIG_VARIABLE)["value"], reader=OPERATOR)
        return _Given(config.carbon, serve["imagePullPolicy"])
    except (KeyError, DocumentError):  # somebody else changed it: it is put right
        return now


def _named(entries: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next((entry for entry in entries if entry["name"] == name), {})


def _template(wanted: Wanted, given: _Given) -> dict[str, Any]:
    spec = wanted.spec
    annotations = spec.pod_template.annotations
    image = Image(wanted.settings.serve_image, given.pull_policy)
    config = environment(serve_config(wanted).model_copy(update={"carbon": given.carbon}))
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
    patience = {"name": "VLLM_ENGINE_READY_TIMEOUT_S", "value": str(deadline)}
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
