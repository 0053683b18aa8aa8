"""Every way in which a training pod ends, as Kubernetes tells it: what people see, and what is counted."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden.api.pods import TerminationMessage
from modelgarden.kube.resources import JOBS
from tests.integration.harness.api import Obj, condition, phase, reason
from tests.integration.harness.garden import Garden
from tests.integration.harness.node import FakeNode
from tests.integration.harness.waiting import wait_for
from tests.integration.trainer import Trainer

pytestmark = pytest.mark.usefixtures("operator")

QUEUED = {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}
SILENT = TerminationMessage(reason="Stalled", message="Silent for 1800 s at step 40.")


def training(garden: Garden, node: FakeNode, **spec: Any) -> Trainer:
    trainer = Trainer.of(garden, garden.create_finetunejob("bot", **spec))
    node.run("bot-prepare")
    node.succeed("bot-prepare", trainer.prepare())
    node.run("bot-train")
    wait_for(lambda: reason(garden.finetunejob("bot"), "Running") == "Training", what="Training")
    return trainer


def attempts(garden: Garden) -> list[Obj]:
    found: list[Obj] = garden.finetunejob("bot")["status"].get("attempts", [])
    return found


def next_attempt(node: FakeNode, before: str) -> None:
    def another() -> bool:
        return any(pod["metadata"]["name"] != before for pod in node.active_pods("bot-train"))

    wait_for(another, 60, what="the next attempt")


@pytest.mark.parametrize(
    ("end", "backoff_limit", "want_attempt", "want_words"),
    [
        pytest.param(
            {"reason": "PreemptionByScheduler"}, 0, "PreemptionByScheduler", "no failure", id="preempted"
        ),
        pytest.param(
            {"reason": "EvictionByEvictionAPI", "message": "Eviction API: drained"},
            0, "EvictionByEvictionAPI", "drained",
            id="drained",
        ),
        pytest.param(
            {"reason": "TerminationByKubelet", "message": "The node was low on disk.", "exit_code": 137},
            0, "TerminationByKubelet", "low on disk",
            id="evicted by its node",
        ),
        pytest.param(
            {"reason": "DeletionByPodGC", "message": "PodGC: node no longer exists", "exit_code": 137},
            0, "DeletionByPodGC", "no longer exists",
            id="its node is gone",
        ),
        pytest.param({"exit_code": 143}, 0, "Terminated", "SIGTERM", id="stopped by somebody"),
        pytest.param({"exit_code": 75}, 0, "StorageUnavailable", "unavailable", id="storage is away"),
        pytest.param({"exit_code": 1, "message": SILENT}, 1, "Stalled", "step 40", id="stalled"),
        pytest.param({"exit_code": 137, "reason": "OOMKilled"}, 1, "OutOfMemory", "memory limit", id="memory"),
        pytest.param({"exit_code": 1, "message": "KeyError"}, 1, "TrainingFailed", "KeyError", id="crashed"),
    ],
)  # fmt: skip
def test_an_attempt_that_ends_is_followed_by_another_as_its_class_says(
    end: dict[str, Any],
    backoff_limit: int,
    want_attempt: str,
    want_words: str,
    garden: Garden,
    node: FakeNode,
) -> None:
    trainer = training(garden, node, backoffLimit=backoff_limit)
    disrupted = "exit_code" not in end or end.get("reason", "") in (
        "TerminationByKubelet", "DeletionByPodGC",
    )  # fmt: skip
    ended = node.evict("bot-train", **end) if disrupted else node.end("bot-train", **end)

    next_attempt(node, ended["metadata"]["name"])
    wait_for(lambda: attempts(garden)[0].get("reason") == want_attempt, 10, what=want_attempt)
    assert want_words in attempts(garden)[0]["message"] or want_words == "no failure"
    node.run("bot-train")
    node.succeed("bot-train", trainer.train())
    wait_for(lambda: phase(garden.finetunejob("bot")) == "Complete", 30, what="Complete")


@pytest.mark.parametrize(
    ("end", "want_reason"),
    [
        pytest.param({"exit_code": 1, "message": SILENT}, "Stalled", id="stalled"),
        pytest.param(
            {
                "exit_code": 64,
                "message": TerminationMessage(reason="Diverged", message="The loss became nan at step 7."),
            },
            "Diverged",
            id="diverged",
        ),
    ],
)
def test_an_end_that_no_attempt_may_follow_fails_the_job_with_its_reason(
    end: dict[str, Any], want_reason: str, garden: Garden, node: FakeNode
) -> None:
    training(garden, node, backoffLimit=0)

    node.end("bot-train", **end)

    wait_for(lambda: phase(garden.finetunejob("bot")) == "Failed", 30, what="Failed")
    assert reason(garden.finetunejob("bot"), "Failed") == want_reason
    assert end["message"].message.rstrip(".") in condition(garden.finetunejob("bot"), "Failed")["message"]


def test_interruptions_in_vain_end_the_job_at_their_limit(garden: Garden, node: FakeNode) -> None:
    training(garden, node, interruptionLimit=2, backoffLimit=0)
    first = node.evict("bot-train")
    next_attempt(node, first["metadata"]["name"])
    node.run("bot-train")

    node.evict("bot-train", reason="EvictionByEvictionAPI")

    wait_for(lambda: phase(garden.finetunejob("bot")) == "Failed", 30, what="Failed")
    assert reason(garden.finetunejob("bot"), "Failed") == "InterruptionLimitExceeded"
    wait_for(lambda: garden.api.get(JOBS, garden.namespace, "bot-train") is None, what="the end of the Job")


def test_a_queue_that_takes_the_place_back_is_told_and_no_failure(garden: Garden, node: FakeNode) -> None:
    training(garden, node, podTemplate=QUEUED, backoffLimit=0)
    job = garden.api.get(JOBS, garden.namespace, "bot-train")
    assert job is not None

    garden.api.merge(JOBS, job, {"spec": {"suspend": True}})

    wait_for(lambda: attempts(garden)[0].get("endTime"), 60, what="the end of the attempt")
    assert attempts(garden)[0]["reason"] == "Preempted"
    wait_for(lambda: phase(garden.finetunejob("bot")) == "Pending", what="Pending")
    assert reason(garden.finetunejob("bot"), "Running") == "Queued"
