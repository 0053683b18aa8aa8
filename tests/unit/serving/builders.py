"""Builders of what the serving tests observe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from modelgarden.api import names
from modelgarden.api.emissions import Attempt, EmissionsRecord, Energy, Methods, emissions_of
from modelgarden.api.modeldeployment import ModelDeploymentSpec, ModelDeploymentStatus, ServedArtifact
from modelgarden.api.pods import ServeReport
from modelgarden.carbon.intensity import intensity_of
from modelgarden.controller.subject import Identity
from modelgarden.controller.view import View
from modelgarden.serving.decision import ServingView
from modelgarden.serving.manifests import MADE_WITH_ANNOTATION, deployment
from modelgarden.serving.observation import NOTHING_SAID, Observation, by_revision, revisions_of
from modelgarden.serving.resolve import Resolution
from modelgarden.serving.revision import revision_hash
from modelgarden.serving.rollout import Revision
from modelgarden.serving.subject import Subject
from modelgarden.serving.template import Wanted
from modelgarden.settings import Settings

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DIGEST = "ab" * 32
OTHER_DIGEST = "cd" * 32
RUN = "s3://models/garden/runs/default/tune/0b1c/manifest.json"
SETTINGS = Settings(train_image="example.com/train:1", serve_image="example.com/serve:1")


def revision(name: str = "new", **seen: Any) -> Revision:
    """Return a revision that was made ten minutes ago, with one pod wanted."""
    base = Revision(name=name, created=NOW - timedelta(minutes=10), model=f"bot@{DIGEST}", wanted=1, ready=0)
    return replace(base, **{"held": seen.get("wanted", 1), **seen})


def spec(**fields: Any) -> ModelDeploymentSpec:
    """Return a spec that serves the artifact of the FineTuneJob `tune`."""
    return ModelDeploymentSpec.from_dict({"model": {"fineTuneJobRef": {"name": "tune"}}, **fields})


def artifact(sha256: str = DIGEST) -> ServedArtifact:
    """Return the artifact of a run."""
    return ServedArtifact(uri=RUN, sha256=sha256, version=1)


def wanted(the_spec: ModelDeploymentSpec | None = None, sha256: str = DIGEST) -> Wanted:
    """Return what the ModelDeployment `default/bot` is to serve."""
    return Wanted(
        namespace="default", name="bot", spec=the_spec or spec(), artifact=artifact(sha256), settings=SETTINGS
    )


def made(of: Wanted, *, replicas: int = 1, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the Deployment of a revision as it is made."""
    return deployment(of, revision_hash(of), replicas=replicas, annotations=annotations or {})


def made_earlier(
    of: Wanted, revision: str, *, replicas: int = 1, annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the Deployment as version 0.1.0 made it: no record of what it was made with, and another name."""
    found = deployment(of, revision, replicas=replicas, annotations=annotations or {})
    del found["metadata"]["annotations"][MADE_WITH_ANNOTATION]
    return found


def live(manifest: dict[str, Any], *, ready: int = 0, age: float = 600) -> dict[str, Any]:
    """Return a Deployment's manifest as the API server would hold it."""
    replicas = manifest["spec"]["replicas"]
    metadata = {
        **manifest["metadata"],
        "uid": f"uid-{manifest['metadata']['name']}",
        "creationTimestamp": _stamp(NOW - timedelta(seconds=age)),
    }
    counts = {"replicas": replicas, "updatedReplicas": replicas, "readyReplicas": ready}
    status = counts if replicas else {}
    return {**manifest, "metadata": metadata, "status": status}


def pod(of: Wanted, name: str = "p1", **status: Any) -> dict[str, Any]:
    """Return a pod of a revision."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": of.namespace,
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": _stamp(NOW - timedelta(minutes=5)),
            "labels": {names.MODELDEPLOYMENT_LABEL: of.name, names.REVISION_LABEL: revision_hash(of)},
        },
        "status": {"phase": "Pending", **status},
    }


def unschedulable(message: str, *, seconds: float) -> dict[str, Any]:
    """Return the status of a pod that the scheduler found no node for, some seconds ago."""
    return {
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": message,
                "lastTransitionTime": _stamp(NOW - timedelta(seconds=seconds)),
            }
        ]
    }


def crashed(container: str, exit_code: int, message: str = "") -> dict[str, Any]:
    """Return the status of a pod whose container ended and waits to be started again."""
    ended = {"terminated": {"exitCode": exit_code, "message": message}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    entry = {
        "name": container, "image": "example.com/serve:1", "ready": False, "restartCount": 3,
        "state": waiting, "lastState": ended,
    }  # fmt: skip
    return {"phase": "Running", "containerStatuses": [entry]}


def observed(
    *,
    the_spec: ModelDeploymentSpec | None = None,
    resolution: Resolution | None = None,
    deployments: tuple[dict[str, Any], ...] = (),
    pods: tuple[dict[str, Any], ...] = (),
    **more: Any,
) -> ServingView:
    """Return what a plan for the ModelDeployment `default/bot` is made from."""
    by_name = by_revision(deployments)
    subject = Subject(
        identity=Identity(namespace="default", name="bot", uid="uid-bot", generation=2, created=_stamp(NOW)),
        spec=the_spec or spec(),
        status=more.get("status", ModelDeploymentStatus()),
    )
    seen = Observation(
        resolution=resolution or Resolution(artifact=artifact(), message="version 1"),
        deployments=by_name,
        revisions=revisions_of(by_name, pods, more.get("said", NOTHING_SAID)),
        pods=pods,
        reports=more.get("reports"),
    )
    return View(subject, seen, SETTINGS, more.get("now", NOW))


def report(
    uid: str, *, joules: int, idle: int = 0, tokens: int = 0, start: int = 0, seconds: int = 60, **record: Any
) -> ServeReport:
    """Return what a pod tells that began `start` seconds after NOW."""
    energy = Energy.of(cpu=joules)
    intensity = record.get("intensity", intensity_of("DEU"))
    begun = NOW + timedelta(seconds=start)
    attempt = Attempt(
        id=uid,
        start_time=_stamp(begun),
        end_time=_stamp(begun + timedelta(seconds=seconds)),
        energy_joules=energy,
        reason="Running",
    )
    emissions = EmissionsRecord(
        state=record.get("state", "Estimated"),
        energy_joules=energy,
        pue_milli=1200,
        pue_source="Spec",
        intensity=intensity,
        emissions_milligrams=emissions_of(energy, pue_milli=1200, intensity=intensity),
        methods=Methods(gpu="none", cpu="cpu-load-model", ram="dimm-model-share"),
        duration_seconds=seconds,
        coverage_percent=100,
        attempts=(attempt,),
        tool="codecarbon 3.3.2",
    )
    return ServeReport(
        attempt=uid, emissions=emissions, idle_joules=idle, generated_tokens=tokens, prompt_tokens=2 * tokens
    )


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
