"""A FineTuneJob from its creation to a registered version, and what its pods' ends make of it."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden.api.conditions import REASONS
from modelgarden.api.layout import MANIFEST
from modelgarden.api.pods import TerminationMessage
from modelgarden.kube.resources import EVENTS, JOBS
from tests.integration.harness.api import Api, Obj, condition, phase, reason
from tests.integration.harness.garden import Garden
from tests.integration.harness.node import FakeNode
from tests.integration.harness.reports import pod_report
from tests.integration.harness.waiting import wait_for
from tests.integration.trainer import Trainer
from tests.unit.builders import make_emissions, make_evaluation, make_report

pytestmark = pytest.mark.usefixtures("operator")


def wait_for_phase(garden: Garden, want: str, *, name: str = "bot", timeout: float = 30) -> Obj:
    def reached() -> Obj:
        job = garden.finetunejob(name)
        assert phase(job) == want, job.get("status")
        return job

    return wait_for(reached, timeout, what=f"phase {want}")


def prepared(garden: Garden, node: FakeNode, **spec: Any) -> Trainer:
    """Create a FineTuneJob and bring it to its training; return its trainer."""
    trainer = Trainer.of(garden, garden.create_finetunejob("bot", **spec))
    node.run("bot-prepare")
    node.succeed("bot-prepare", trainer.prepare())
    node.wait_for_pod("bot-train")
    return trainer


def said(reason: str, message: str) -> TerminationMessage:
    return TerminationMessage(reason=reason, message=message)


def test_a_job_becomes_a_version(garden: Garden, node: FakeNode, api: Api) -> None:
    trainer = Trainer.of(garden, garden.create_finetunejob("bot"))
    wait_for_phase(garden, "Preparing")
    node.run("bot-prepare")
    node.succeed("bot-prepare", trainer.prepare())

    pod = node.wait_for_pod("bot-train")
    training = wait_for_phase(garden, "Training")
    assert training["status"]["dataset"]["trainingRows"] == 100
    attempt = pod["metadata"]["uid"]
    with pod_report("127.0.0.11", progress=make_report(step=40, attempt=attempt).to_dict()):
        node.run("bot-train", ip="127.0.0.11")
        wait_for(
            lambda: garden.finetunejob("bot")["status"].get("progress", {}).get("percent") == 40,
            what="progress of the pod",
        )
    running = garden.finetunejob("bot")
    assert condition(running, "Running")["status"] == "True"
    assert running["status"]["carbon"]["energyJoules"]["total"] == 7200
    node.succeed("bot-train", trainer.train(attempts={attempt: 9000}))

    done = wait_for_phase(garden, "Complete")
    status = done["status"]
    assert condition(done, "Complete")["reason"] == "Succeeded"
    assert condition(done, "ArtifactRegistered")["status"] == "True"
    assert status["artifact"]["version"] == 1
    assert status["artifact"]["uri"] == str(trainer.folder.child(MANIFEST))
    assert status["evaluation"] == make_evaluation().to_dict()
    assert status["progress"]["percent"] == 100
    assert [one["reason"] for one in status["attempts"]] == ["Completed"]
    assert status["observedGeneration"] == done["metadata"]["generation"]
    assert all(one["reason"] in REASONS for one in status["conditions"])
    record = garden.read_json(f"garden/models/{garden.namespace}/bot/versions/1.json")
    assert record["manifestSha256"] == status["artifact"]["manifestSha256"]
    assert garden.read_json(f"garden/models/{garden.namespace}/bot/aliases/latest.json")["version"] == 1
    assert {job["metadata"]["name"] for job in api.list(JOBS, garden.namespace)} == {
        "bot-prepare",
        "bot-train",
    }
    notes = [
        (event["type"], event["reason"])
        for event in sorted(api.list(EVENTS, garden.namespace), key=lambda event: str(event.get("eventTime")))
        if event["regarding"]["kind"] == "FineTuneJob"
    ]
    assert notes == [
        ("Normal", "Preparing"), ("Normal", "Pending"), ("Normal", "Training"), ("Normal", "Succeeded"),
    ]  # fmt: skip


def test_what_the_training_pod_waits_for_is_told(garden: Garden, node: FakeNode) -> None:
    prepared(garden, node)

    node.unschedulable("bot-train", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    wait_for(lambda: reason(garden.finetunejob("bot"), "Running") == "Unschedulable", 10)
    assert "Insufficient nvidia.com/gpu" in condition(garden.finetunejob("bot"), "Running")["message"]

    node.wait_reason("bot-train", "ImagePullBackOff", "not found")
    wait_for(lambda: reason(garden.finetunejob("bot"), "Running") == "ImagePullFailed", 10)

    node.run("bot-train")
    wait_for(lambda: reason(garden.finetunejob("bot"), "Running") == "Training", 10)


def test_a_preempted_attempt_is_followed_by_another_and_keeps_its_energy(
    garden: Garden, node: FakeNode
) -> None:
    trainer = prepared(garden, node, backoffLimit=0)
    first = node.wait_for_pod("bot-train")["metadata"]["uid"]
    report = make_report(attempt=first, emissions=make_emissions({first: 5000})).to_dict()
    with pod_report("127.0.0.12", progress=report):
        node.run("bot-train", ip="127.0.0.12")
        wait_for(lambda: garden.finetunejob("bot")["status"].get("carbon"), what="the first attempt's energy")
    node.evict("bot-train")

    second = wait_for(
        lambda: [pod for pod in node.active_pods("bot-train") if pod["metadata"]["uid"] != first],
        60,
        what="the second attempt",
    )[0]["metadata"]["uid"]
    wait_for(
        lambda: garden.finetunejob("bot")["status"]["attempts"][0].get("reason") == "PreemptionByScheduler",
        10,
    )
    node.run("bot-train")
    node.succeed("bot-train", trainer.train(attempts={second: 700}))

    status = wait_for_phase(garden, "Complete")["status"]
    assert status["carbon"]["energyJoules"]["total"] == 5700
    assert [one["reason"] for one in status["attempts"]] == ["PreemptionByScheduler", "Completed"]


@pytest.mark.parametrize(
    ("end", "want_reason", "want_words"),
    [
        pytest.param(
            {"exit_code": 64, "message": said("InvalidConfiguration", "maxSequenceLength is too long.")},
            "InvalidConfiguration", "maxSequenceLength is too long.",
            id="wrong input fails at once in the pod's words",
        ),
        pytest.param(
            {"exit_code": 1, "message": "Traceback\n  KeyError: 'x'"},
            "BackoffLimitExceeded", "KeyError",
            id="a crash counts against backoffLimit",
        ),
        pytest.param(
            {"exit_code": 137, "reason": "OOMKilled"},
            "OutOfMemory", "memory limit of 1Gi",
            id="the kernel's kill names the memory limit",
        ),
        pytest.param(
            {"exit_code": 64, "message": '{"reason": 5, "message": ["' + "\\ud800" * 400},
            "TrainingFailed", "exit code 64",
            id="a garbage message is survived",
        ),
    ],
)  # fmt: skip
def test_training_that_fails(
    garden: Garden, node: FakeNode, end: dict[str, Any], want_reason: str, want_words: str
) -> None:
    prepared(garden, node, backoffLimit=0)
    node.run("bot-train")

    node.end("bot-train", **end)

    failed = wait_for_phase(garden, "Failed", timeout=10)
    assert reason(failed, "Failed") == want_reason
    assert want_words in condition(failed, "Failed")["message"]
    assert failed["status"]["completionTime"]


def test_an_outage_of_storage_does_not_count_as_a_failure(garden: Garden, node: FakeNode) -> None:
    trainer = prepared(garden, node, backoffLimit=0)
    gone = node.run("bot-train")["metadata"]["uid"]
    node.end("bot-train", exit_code=75)
    wait_for(
        lambda: any(pod["metadata"]["uid"] != gone for pod in node.active_pods("bot-train")),
        60,
        what="the next attempt",
    )
    node.run("bot-train")
    node.succeed("bot-train", trainer.train())

    done = wait_for_phase(garden, "Complete")
    assert [one["reason"] for one in done["status"]["attempts"]] == ["StorageUnavailable", "Completed"]


def test_an_artifact_that_does_not_match_its_manifest_fails_the_job(garden: Garden, node: FakeNode) -> None:
    trainer = prepared(garden, node)
    node.run("bot-train")
    message = trainer.train()
    garden.put(trainer.folder.child("artifact/merged/model.safetensors").key, "other weights")

    node.succeed("bot-train", message)

    failed = wait_for_phase(garden, "Failed")
    assert reason(failed, "Failed") == "ArtifactInvalid"
    assert reason(failed, "ArtifactRegistered") == "ArtifactInvalid"
    assert garden.keys("garden/models/") == []


def test_a_child_of_somebody_else_is_not_taken_over(garden: Garden, api: Api) -> None:
    container = {"name": "other", "image": "other"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    metadata = {"name": "bot-prepare", "namespace": garden.namespace}
    theirs = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template}}
    api.create(JOBS, theirs)

    garden.create_finetunejob("bot")

    blocked = wait_for_phase(garden, "Blocked", timeout=10)
    assert reason(blocked, "Accepted") == "ApplyRejected"
    assert "bot-prepare" in condition(blocked, "Accepted")["message"]
    api.delete(JOBS, garden.namespace, "bot-prepare")
    wait_for_phase(garden, "Preparing", timeout=60)
