"""Records what the operator of this checkout makes of ten resources: every object as the API server holds it.

Run by hand in a worktree of the version whose objects are wanted; README.md says how.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hack.cluster import ControlPlane, S3Server
from modelgarden.api import names
from modelgarden.kube.resources import FINETUNEJOBS, MODELDEPLOYMENTS, PODS, Resource
from tests.integration.harness.api import REPLICA_SETS, Api, Obj, phase
from tests.integration.harness.garden import Garden
from tests.integration.harness.node import FakeNode
from tests.integration.harness.process import OperatorProcess
from tests.integration.harness.reports import pod_report
from tests.integration.harness.waiting import stays, wait_for
from tests.integration.serving_node import IDLE_ADDRESS, ServingNode
from tests.integration.trainer import Trainer
from tests.integration.upgrade import scene
from tests.unit.builders import make_report
from tests.unit.serving.builders import report

HERE = Path(__file__).parent
REST_SECONDS = 20
"""Longer than the rollout waits before an old pod makes room: what is recorded rests."""

POD_TEMPLATE: Obj = {
    "labels": {"team": "garden", "app.kubernetes.io/name": "chat"},
    "annotations": {"example.com/contact": "ops@example.com"},
    "nodeSelector": {"gpu": "h100"},
    "tolerations": [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "pool", "value": "serving"},
    ],
    "priorityClassName": scene.PRIORITY_CLASS,
    "runtimeClassName": scene.RUNTIME_CLASS,
    "serviceAccountName": scene.SERVICE_ACCOUNT,
    "imagePullSecrets": [{"name": "registry"}],
}
WITH_ALL: Obj = {
    "servedModelName": "garden-chat",
    # The API server writes these quantities in another form: 500m and 1Gi.
    "resources": {"gpus": 2, "cpu": "0.5", "memory": "1024Mi"},
    "engine": {
        "args": {
            "maxModelLen": 2048, "gpuMemoryUtilization": 0.85, "maxNumSeqs": 16, "dtype": "bfloat16",
            "enforceEager": True,
        },
        "extraArgs": ["--enable-prefix-caching", "--seed=7"],
    },
    "podTemplate": POD_TEMPLATE,
    "rollout": {"progressDeadlineSeconds": 900},
    "carbon": {"zone": "DEU", "pue": 1.2},
}  # fmt: skip


@pytest.fixture
def garden(api: Api, s3: S3Server) -> Garden:
    """The namespace with credentials, dataset and model."""
    prepared = scene.prepare(api, s3)
    prepared.plant()
    return prepared


@pytest.fixture
def operator(cluster: ControlPlane, garden: Garden, tmp_path: Path) -> Iterator[OperatorProcess]:
    """The operator of this checkout."""
    own = {"watch_namespaces": garden.namespace, "lease_namespace": garden.namespace}
    process = OperatorProcess(cluster.kubeconfig, tmp_path / "operator.log", own)
    process.start()
    process.wait_until_leading()
    yield process
    process.kill()


def test_record(api: Api, garden: Garden, operator: OperatorProcess) -> None:
    """Bring every resource to its phase, wait until nothing changes any more, and write it all down."""
    _finetunejobs(garden, FakeNode(api, garden.namespace))
    _modeldeployments(api, garden)
    wait_for(lambda: _phases(api) == {name: want for name, (_, want) in scene.OWNERS.items()}, 60)
    wait_for(lambda: _rests(api), 120, what="rest")
    operator.stop()
    objects = _everything(api)
    for name, (resource, _) in scene.OWNERS.items():
        _write(name, _family(objects, resource, name), garden.s3.endpoint)
    keys = garden.keys()
    stored = {key: _stored(garden, key) for key in keys}
    (HERE / "s3.json").write_text(_text(stored).replace(garden.s3.endpoint, scene.S3_ENDPOINT))


def _finetunejobs(garden: Garden, node: FakeNode) -> None:
    garden.create_finetunejob("preparing")
    node.run("preparing-prepare", ip=IDLE_ADDRESS)
    garden.create_finetunejob("blocked", dataset={"source": f"s3://{garden.bucket}/missing.jsonl"})
    _training(garden, node, "training", podTemplate=POD_TEMPLATE, carbon={"zone": "DEU"}, backoffLimit=5)
    _training(garden, node, "suspended")
    garden.api.merge(FINETUNEJOBS, garden.finetunejob("suspended"), {"spec": {"suspend": True}})
    wait_for(lambda: not node.active_pods("suspended-train"), what="the end of the pod")
    trainer = _training(garden, node, "complete")
    node.succeed("complete-train", trainer.train())


def _training(garden: Garden, node: FakeNode, name: str, **spec: Any) -> Trainer:
    """Bring a FineTuneJob to its training and have its pod tell how far it is."""
    trainer = Trainer.of(garden, garden.create_finetunejob(name, **spec))
    node.run(f"{name}-prepare")
    node.succeed(f"{name}-prepare", trainer.prepare())
    attempt = node.wait_for_pod(f"{name}-train")["metadata"]["uid"]
    with pod_report(IDLE_ADDRESS, progress=make_report(step=40, attempt=attempt).to_dict()):
        node.run(f"{name}-train", ip=IDLE_ADDRESS)
        wait_for(lambda: garden.finetunejob(name)["status"].get("progress"), what="progress of the pod")
    return trainer


def _modeldeployments(api: Api, garden: Garden) -> None:
    _with_its_energy(api, garden)
    _ready(api, garden, "of-folder")
    _ready(api, garden, "with-all", **WITH_ALL)
    _in_mid_rollout(api, garden)
    _rolled_back(api, garden)


def _with_its_energy(api: Api, garden: Garden) -> None:
    garden.create_modeldeployment("of-job", model={"fineTuneJobRef": {"name": "complete"}}, replicas=2)
    node = ServingNode(api, garden.namespace, "of-job")
    wait_for(lambda: len(node.pods()) == 2, what="both pods")
    pod = node.pods()[0]
    node.addresses[pod["metadata"]["name"]] = "127.0.0.251"
    told = report(pod["metadata"]["uid"], joules=5000, idle=2000, tokens=300).to_dict()
    with pod_report("127.0.0.251", carbon=told):
        node.play_until(lambda: "carbon" in garden.modeldeployment("of-job")["status"], what="the energy")


def _ready(api: Api, garden: Garden, name: str, *, places: int = 10, **spec: Any) -> ServingNode:
    garden.create_modeldeployment(name, **spec)
    node = ServingNode(api, garden.namespace, name, places=places)
    node.play_until(lambda: _served(node), what=f"the first revision of {name}")
    return node


def _in_mid_rollout(api: Api, garden: Garden) -> None:
    """Leave it with one old pod that serves and two new ones that find no place."""
    node = _ready(api, garden, "rolling", places=2, replicas=2)
    (before,) = node.deployments()
    node.places = 1  # what an old pod gives up is taken by somebody else
    _change(api, garden, "rolling", maxModelLen=128)

    def waits() -> bool:
        replicas = {name == before: one["spec"]["replicas"] for name, one in node.deployments().items()}
        return replicas == {True: 1, False: 2} and len(node.pods()) == 3

    node.play_until(waits, what="the middle of the rollout")
    node.tick()


def _rolled_back(api: Api, garden: Garden) -> None:
    node = _ready(api, garden, "rolled-back", replicas=2)
    (before,) = node.deployments()
    node.exit_code = names.EXIT_USER_ERROR
    node.healthy = lambda pod: bool(pod["metadata"]["labels"][names.REVISION_LABEL] == before)
    _change(api, garden, "rolled-back", maxModelLen=128)
    node.play_until(
        lambda: (
            sorted(one["spec"]["replicas"] for one in node.deployments().values()) == [0, 2]
            and len(node.ready()) == len(node.pods()) == 2
        ),
        what="the rollback",
    )


def _change(api: Api, garden: Garden, name: str, **args: Any) -> None:
    api.merge(MODELDEPLOYMENTS, garden.modeldeployment(name), {"spec": {"engine": {"args": args}}})


def _served(node: ServingNode) -> bool:
    """Tell whether the operator has noted of a revision that it was fully rolled out."""
    noted = [one["metadata"]["annotations"] for one in node.deployments().values()]
    return any(annotations.get(f"{names.GROUP}/served") == "true" for annotations in noted)


def _phases(api: Api) -> dict[str, str]:
    return {
        one["metadata"]["name"]: phase(one)
        for resource in (FINETUNEJOBS, MODELDEPLOYMENTS)
        for one in api.list(resource, scene.NAMESPACE)
    }


def _rests(api: Api) -> bool:
    before = _everything(api)
    try:
        stays(lambda: _everything(api) == before, REST_SECONDS)
    except AssertionError:
        return False
    return True


def _everything(api: Api) -> list[Obj]:
    return [one for resource in scene.RECORDED for one in api.list(resource, scene.NAMESPACE)]


def _family(objects: list[Obj], resource: Resource, name: str) -> list[Obj]:
    """Return a resource and all that belongs to it, owners before what they own."""
    owner = (resource.kind, name)
    (found,) = [one for one in objects if (one["kind"], one["metadata"]["name"]) == owner]
    family, uids = [found], {found["metadata"]["uid"]}
    for one in objects:  # in the order of scene.RECORDED
        if any(reference["uid"] in uids for reference in one["metadata"].get("ownerReferences", ())):
            family.append(one)
            uids.add(one["metadata"]["uid"])
    return family


def _write(name: str, family: list[Obj], endpoint: str) -> None:
    for one in family:
        del one["metadata"]["resourceVersion"]
        if one["kind"] in (PODS.kind, REPLICA_SETS.kind):  # no operator writes them
            del one["metadata"]["managedFields"]
    record = {"recordedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "objects": family}
    (HERE / f"{name}.json").write_text(_text(record).replace(endpoint, scene.S3_ENDPOINT))


def _stored(garden: Garden, key: str) -> Obj:
    answer = garden.objects.get_object(Bucket=garden.bucket, Key=key)
    return {"body": answer["Body"].read().decode(), "metadata": answer["Metadata"]}


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
