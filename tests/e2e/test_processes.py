"""Two processes of one training in pods: two GPUs of a pod, and two pods of a group, one of which is killed.

The node's GPUs are a number in its status, as no device stands behind it; PyTorch finds none and the processes meet
over gloo on its CPUs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hack.demo.environment import Environment
from hack.demo.follow import wait_for_job
from modelgarden.api.artifact import Manifest
from modelgarden.api.curve import TrainingCurve
from tests.e2e.jobs import NAMESPACE, applied, checkpointed, pods_of, wait_for
from tests.e2e.test_main_job import read

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(2400)]

GPUS = "/status/capacity/nvidia.com~1gpu"
TRAINING = {"epochs": 1, "maxSteps": 40}
CHECKPOINT_STEPS = 10
FREELY = {"cpu": "250m", "memory": "6Gi"}


@pytest.fixture
def gpus(environment: Environment) -> Iterator[None]:
    """A node that says it has two GPUs."""
    if not environment.local:
        pytest.skip("the nodes of another cluster are not ours to patch")
    (node,) = json.loads(environment.kubectl("get", "nodes", "-o", "json"))["items"]
    name = node["metadata"]["name"]

    def patch(operation: dict[str, str]) -> None:
        environment.kubectl(
            "patch", "node", name, "--subresource=status", "--type=json", "-p", json.dumps([operation])
        )

    patch({"op": "add", "path": GPUS, "value": "2"})
    wait_for(
        "the kubelet to offer the GPUs",
        lambda: allocatable(environment, name) == "2" or None,
        timeout=120,
    )
    yield
    patch({"op": "remove", "path": GPUS})


def allocatable(environment: Environment, node: str) -> str | None:
    found = json.loads(environment.kubectl("get", "node", node, "-o", "json"))
    offered: dict[str, str] = found["status"]["allocatable"]
    return offered.get("nvidia.com/gpu")


def result_of(environment: Environment, name: str) -> tuple[dict[str, Any], Manifest, dict[int, float]]:
    """Return the status of a job that is complete, its manifest, and its curve: losses by step."""
    status = wait_for_job(environment, NAMESPACE, name, timeout=1500, say=lambda _: None)["status"]
    uri = status["artifact"]["uri"]
    curve = TrainingCurve.model_validate_json(read(environment, uri.replace("manifest.json", "curve.json")))
    losses = {point.step: float(point.loss) for point in curve.points if point.loss is not None}
    return status, Manifest.model_validate_json(read(environment, uri)), losses


def test_two_processes_of_a_pod_and_of_two_pods_train_as_one_does(
    environment: Environment, gpus: None, figure: Callable[[str], None]
) -> None:
    with applied(environment, "one", training=TRAINING):
        _, _, alone = result_of(environment, "one")
    with applied(environment, "two-gpus", training=TRAINING, resources={"gpus": 2, **FREELY}):
        _, manifest, beside = result_of(environment, "two-gpus")
    assert manifest.hyperparameters["processes"] == "2"
    group = {"gpus": 1, "nodes": 2, **FREELY}
    with applied(
        environment,
        "two-pods",
        training=TRAINING,
        resources=group,
        checkpoint={"everySteps": CHECKPOINT_STEPS, "keep": 2},
    ):
        wait_for(
            "the first checkpoint",
            lambda: checkpointed(environment, "two-pods", CHECKPOINT_STEPS),
            timeout=900,
        )
        pods = pods_of(environment, "modelgarden.dev/finetunejob=two-pods,modelgarden.dev/step=train")
        assert len(pods) == 2
        follower = next(pod for pod in pods if pod["metadata"]["name"].startswith("two-pods-train-1"))
        environment.kubectl("-n", NAMESPACE, "delete", "pod", follower["metadata"]["name"], "--wait=false")
        status, manifest, grouped = result_of(environment, "two-pods")
    assert manifest.hyperparameters["processes"] == "2"
    assert len(status["attempts"]) == 2
    assert len(manifest.emissions.attempts) == 2

    assert alone.keys() == beside.keys() == grouped.keys()
    far = {
        name: max(abs(losses[step] - alone[step]) / alone[step] for step in alone)
        for name, losses in (("two GPUs", beside), ("two pods", grouped))
    }
    figure(
        "farthest loss from that of one process: "
        + ", ".join(f"{name} {100 * distance:.2f} %" for name, distance in far.items())
    )
    assert max(far.values()) < 0.01
