"""A training on two nodes, with the real control plane: an Indexed Job and its Service, each Job one attempt.

The nodes that run the pods are played, a pod at a time.
"""

from __future__ import annotations

import pytest

from modelgarden.api.pods import TerminationMessage
from modelgarden.kube.resources import FINETUNEJOBS, JOBS, PODS, SERVICES
from tests.integration.harness.api import Obj, condition, phase, reason
from tests.integration.harness.garden import Garden
from tests.integration.harness.node import FakeNode, NodeOfIndex, index_of
from tests.integration.harness.waiting import wait_for
from tests.integration.trainer import Trainer

pytestmark = pytest.mark.usefixtures("operator")

TWO_NODES = {"gpus": 1, "nodes": 2, "cpu": "1", "memory": "1Gi"}
QUEUED = {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}
TOLD_SECONDS = 60.0
AGAIN_SECONDS = 120.0
"""The operator waits 10 s before the next attempt, and the Job controller may do so once more for a Job of that name."""


class PairOfNodes:
    """Plays the kubelets of two nodes: the pods of a Job by their index."""

    def __init__(self, garden: Garden) -> None:
        self._api, self._namespace = garden.api, garden.namespace

    def pods(self) -> dict[int, Obj]:
        """Return the pods that have not ended, by index."""
        whole = FakeNode(self._api, self._namespace)
        return {index_of(pod): pod for pod in whole.active_pods("bot-train")}

    def both(self, *, other_than: frozenset[str] = frozenset()) -> dict[int, Obj]:
        """Wait for both pods of an attempt."""

        def there() -> dict[int, Obj]:
            pods = self.pods()
            assert sorted(pods) == [0, 1]
            assert other_than.isdisjoint(pod["metadata"]["uid"] for pod in pods.values())
            return pods

        return wait_for(there, AGAIN_SECONDS, what="both pods")

    def run(self, *indexes: int) -> None:
        """Have pods run."""
        for index in indexes:
            self._one(index).run("bot-train")

    def end(self, index: int, exit_code: int, message: TerminationMessage | str | None = None) -> None:
        """End a pod."""
        self._one(index).end("bot-train", exit_code=exit_code, message=message)

    def unschedulable(self, index: int, message: str) -> None:
        """Find no place for a pod."""
        self._one(index).unschedulable("bot-train", message)

    def _one(self, index: int) -> FakeNode:
        return NodeOfIndex(self._api, self._namespace, index)


@pytest.fixture
def nodes(garden: Garden) -> PairOfNodes:
    return PairOfNodes(garden)


def started(garden: Garden, node: FakeNode, **spec: object) -> Trainer:
    """Bring a job to where its training's Job is made."""
    training = {"effectiveBatchSize": 4}
    job = garden.create_finetunejob("bot", **{"resources": TWO_NODES, "training": training} | spec)
    trainer = Trainer.of(garden, job)
    node.run("bot-prepare")
    node.succeed("bot-prepare", trainer.prepare())
    return trainer


def running(
    garden: Garden, nodes: PairOfNodes, *, other_than: frozenset[str] = frozenset()
) -> frozenset[str]:
    """Have both pods run; return their UIDs."""
    pods = nodes.both(other_than=other_than)
    nodes.run(0, 1)
    told(garden, "Training")
    return frozenset(pod["metadata"]["uid"] for pod in pods.values())


def told(garden: Garden, want: str) -> Obj:
    """Wait for a reason of Running; return the job."""

    def reached() -> Obj:
        job = garden.finetunejob("bot")
        assert reason(job, "Running") == want, job.get("status")
        return job

    return wait_for(reached, TOLD_SECONDS, what=f"Running for {want}")


def job_of(garden: Garden) -> Obj:
    found = garden.api.get(JOBS, garden.namespace, "bot-train")
    assert found is not None
    return found


def reasons(garden: Garden) -> list[str | None]:
    return [one.get("reason") for one in garden.finetunejob("bot")["status"].get("attempts", [])]


def test_a_pod_that_fails_ends_the_attempt_which_counts_once_and_the_next_one_completes(
    garden: Garden, node: FakeNode, nodes: PairOfNodes
) -> None:
    trainer = started(garden, node, backoffLimit=1)
    nodes.both()
    job, service = job_of(garden), garden.api.get(SERVICES, garden.namespace, "bot-train")
    assert service is not None
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
    for pod in nodes.pods().values():
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == (
            f"bot-train-{index_of(pod)}",
            "bot-train",
        )
        assert pod["metadata"]["labels"].items() >= service["spec"]["selector"].items()

    nodes.run(0)
    nodes.unschedulable(1, "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.")
    partly = condition(told(garden, "Unschedulable"), "Running")["message"]
    assert partly.startswith("1 of 2 pods run and wait for the others, for ")
    assert "Insufficient nvidia.com/gpu" in partly
    nodes.run(1)
    told(garden, "Training")
    first = frozenset(pod["metadata"]["uid"] for pod in nodes.pods().values())

    garden.api.delete(SERVICES, garden.namespace, "bot-train")
    wait_for(
        lambda: garden.api.get(SERVICES, garden.namespace, "bot-train") is not None,
        TOLD_SECONDS,
        what="the Service put back",
    )

    nodes.end(1, 1, "CUDA error")
    ended = condition(told(garden, "Retrying"), "Running")["message"]
    assert "CUDA error" in ended
    running(garden, nodes, other_than=first)
    assert job_of(garden)["metadata"]["uid"] != job["metadata"]["uid"]
    assert reasons(garden) == ["TrainingFailed", None]

    left = trainer.train()
    nodes.end(1, 0)
    nodes.end(0, 0, left)
    wait_for(lambda: phase(garden.finetunejob("bot")) == "Complete", TOLD_SECONDS, what="Complete")

    garden.api.delete(FINETUNEJOBS, garden.namespace, "bot")

    def nothing_left() -> bool:
        return all(not garden.api.list(kind, garden.namespace) for kind in (JOBS, SERVICES, PODS))

    wait_for(nothing_left, TOLD_SECONDS, what="nothing left of it")


def test_failures_of_attempts_end_the_job_at_its_limit(
    garden: Garden, node: FakeNode, nodes: PairOfNodes
) -> None:
    started(garden, node, backoffLimit=0)
    running(garden, nodes)

    nodes.end(1, 137, "killed")

    wait_for(lambda: phase(garden.finetunejob("bot")) == "Failed", TOLD_SECONDS, what="Failed")
    assert reason(garden.finetunejob("bot"), "Failed") == "BackoffLimitExceeded"
    assert len(reasons(garden)) == 1


def test_a_queue_admits_all_pods_at_once_and_may_take_them_back(
    garden: Garden, node: FakeNode, nodes: PairOfNodes
) -> None:
    started(garden, node, podTemplate=QUEUED, backoffLimit=0)
    first = running(garden, nodes)
    assert job_of(garden)["metadata"]["labels"].items() >= QUEUED["labels"].items()

    garden.api.merge(JOBS, job_of(garden), {"spec": {"suspend": True}})
    wait_for(lambda: not nodes.pods(), TOLD_SECONDS, what="the end of both pods")
    told(garden, "Queued")
    garden.api.merge(JOBS, job_of(garden), {"spec": {"suspend": False}})

    running(garden, nodes, other_than=first)
    assert reasons(garden) == ["Preempted", None]


def test_suspension_takes_both_pods_and_brings_both_back(
    garden: Garden, node: FakeNode, nodes: PairOfNodes
) -> None:
    started(garden, node, backoffLimit=0)
    first = running(garden, nodes)

    garden.api.merge(FINETUNEJOBS, garden.finetunejob("bot"), {"spec": {"suspend": True}})
    wait_for(lambda: not nodes.pods(), TOLD_SECONDS, what="the end of both pods")
    wait_for(lambda: reasons(garden) == ["Suspended"], TOLD_SECONDS, what="the end of the attempt")
    assert phase(garden.finetunejob("bot")) == "Suspended"
    garden.api.merge(FINETUNEJOBS, garden.finetunejob("bot"), {"spec": {"suspend": False}})

    running(garden, nodes, other_than=first)
    assert reasons(garden) == ["Suspended", None]
