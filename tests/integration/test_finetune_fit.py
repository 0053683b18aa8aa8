"""A training that fits no GPU of the nodes takes none, and starts once there is a node with a larger one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from modelgarden.kube.resources import JOBS, NODES
from modelgarden.workloads.gpus import MEMORY_LABEL, PRODUCT_LABEL
from tests.integration.harness.api import Api, Obj, condition, phase
from tests.integration.harness.garden import Garden
from tests.integration.harness.node import FakeNode
from tests.integration.harness.waiting import wait_for
from tests.integration.trainer import Trainer
from tests.unit.api.test_needs import make_needs

pytestmark = pytest.mark.usefixtures("operator")

NEEDS = make_needs(weights_bytes=20 * 10**9)
"""More than a T4 holds."""
GPU = {"gpus": 1, "cpu": "1", "memory": "1Gi"}


@contextmanager
def gpu_node(api: Api, pool: str, product: str, mebibytes: int) -> Iterator[None]:
    """Have a node that GPU feature discovery labelled."""
    name = f"{pool}-{product.lower()}"
    labels = {"pool": pool, PRODUCT_LABEL: product, MEMORY_LABEL: str(mebibytes)}
    api.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
    try:
        yield
    finally:
        api.delete(NODES, None, name)


def test_it_waits_for_a_larger_gpu(garden: Garden, node: FakeNode, api: Api) -> None:
    pool = garden.namespace
    with gpu_node(api, pool, "Tesla-T4", 15_360):
        job = garden.create_finetunejob(
            "bot", resources=GPU, podTemplate={"nodeSelector": {"pool": pool}}, carbon={"zone": "DEU"}
        )
        message = Trainer.of(garden, job).prepare().model_copy(update={"needs": NEEDS})
        node.run("bot-prepare")
        node.succeed("bot-prepare", message)

        def refused() -> Obj:
            found = garden.finetunejob("bot")
            assert condition(found, "Running").get("reason") == "DoesNotFit", found.get("status")
            assert phase(found) == "Blocked"
            return found

        found = wait_for(refused, 40, what="the refusal")
        assert "19.7 GiB" in condition(found, "Running")["message"]
        assert found["status"]["estimate"]["gpu"] == "Tesla-T4"
        assert api.get(JOBS, garden.namespace, "bot-train") is None

        with gpu_node(api, pool, "NVIDIA-H100-80GB-HBM3", 81_559):
            node.wait_for_pod("bot-train", timeout=60)

            def fits() -> Obj:
                estimate: Obj = garden.finetunejob("bot")["status"]["estimate"]
                assert estimate["gpu"] == "NVIDIA-H100-80GB-HBM3"
                return estimate

            estimate = wait_for(fits, what="the estimate for the new node")
            assert estimate["tokensPerPass"] == 16_000
            assert estimate["emissionsMilligrams"] >= 0
