"""Suspension, queues, changed limits, deadlines, time to live, deletion, and what happens after the end."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden.api.conditions import REASONS
from modelgarden.kube.resources import FINETUNEJOBS, JOBS
from tests.integration.harness.api import Api, Obj, condition, phase, reason
from tests.integration.harness.garden import Garden
from tests.integration.harness.node import FakeNode
from tests.integration.harness.waiting import stays, wait_for
from tests.integration.trainer import Trainer

pytestmark = pytest.mark.usefixtures("operator")

QUEUED = {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}


def change(garden: Garden, **spec: Any) -> None:
    garden.api.merge(FINETUNEJOBS, garden.finetunejob("bot"), {"spec": spec})


def job_of(garden: Garden, name: str) -> Obj:
    found = garden.api.get(JOBS, garden.namespace, name)
    assert found is not None, f"Job {name} is not there"
    return found


def wait_for_phase(garden: Garden, want: str, timeout: float = 30) -> Obj:
    def reached() -> Obj:
        job = garden.finetunejob("bot")
        assert phase(job) == want, job.get("status")
        return job

    return wait_for(reached, timeout, what=f"phase {want}")


def training(garden: Garden, node: FakeNode, **spec: Any) -> Trainer:
    trainer = Trainer.of(garden, garden.create_finetunejob("bot", **spec))
    node.run("bot-prepare")
    node.succeed("bot-prepare", trainer.prepare())
    node.run("bot-train")
    wait_for(lambda: condition(garden.finetunejob("bot"), "Running").get("status") == "True", what="Running")
    return trainer


def complete(garden: Garden, node: FakeNode, trainer: Trainer) -> Obj:
    node.run("bot-train")
    node.succeed("bot-train", trainer.train())
    return wait_for_phase(garden, "Complete")


def test_a_suspended_job_stops_and_resumes_with_the_same_job(garden: Garden, node: FakeNode) -> None:
    trainer = training(garden, node)
    before = job_of(garden, "bot-train")

    change(garden, suspend=True)
    suspended = wait_for_phase(garden, "Suspended", 10)
    wait_for(lambda: not node.active_pods("bot-train"), what="the end of the pod")
    assert condition(suspended, "Suspended")["status"] == "True"
    assert job_of(garden, "bot-train")["spec"]["suspend"] is True

    change(garden, suspend=False)
    wait_for_phase(garden, "Training", 10)
    done = complete(garden, node, trainer)

    after = job_of(garden, "bot-train")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["template"] == before["spec"]["template"]
    assert (condition(done, "Suspended")["status"], reason(done, "Suspended")) == ("False", "Resumed")
    assert len(done["status"]["attempts"]) == 2


def test_a_job_can_be_created_suspended(garden: Garden, node: FakeNode) -> None:
    garden.create_finetunejob("bot", suspend=True)
    wait_for_phase(garden, "Suspended", 10)
    stays(lambda: garden.api.list(JOBS, garden.namespace) == [], 2, what="no Job")

    change(garden, suspend=False)

    node.wait_for_pod("bot-prepare")


def test_suspend_and_resume_again_and_again(garden: Garden, node: FakeNode) -> None:
    training(garden, node)
    for _ in range(5):
        change(garden, suspend=True)
        wait_for(lambda: not node.active_pods("bot-train"), what="no pod while suspended")
        change(garden, suspend=False)
        node.run("bot-train")

    wait_for(lambda: reason(garden.finetunejob("bot"), "Running") == "Training", what="training again")


def test_a_queue_alone_decides_when_a_queued_job_runs(garden: Garden, node: FakeNode) -> None:
    garden.create_finetunejob("bot", podTemplate=QUEUED)
    node.wait_for_pod("bot-prepare")
    job = job_of(garden, "bot-prepare")
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"

    garden.api.merge(JOBS, job, {"spec": {"suspend": True}})
    stays(lambda: job_of(garden, "bot-prepare")["spec"]["suspend"] is True, 4, what="the queue's decision")
    garden.api.merge(JOBS, job, {"spec": {"suspend": False}})

    node.run("bot-prepare")
    node.succeed("bot-prepare", Trainer.of(garden, garden.finetunejob("bot")).prepare())
    node.run("bot-train")
    change(garden, suspend=True)
    wait_for(lambda: garden.api.get(JOBS, garden.namespace, "bot-train") is None, what="the quota to be free")
    wait_for(lambda: not node.pods("bot-train"), what="the end of the pod")
    change(garden, suspend=False)
    node.wait_for_pod("bot-train")


def test_a_job_that_another_version_of_the_operator_made_is_not_made_anew(
    garden: Garden, node: FakeNode
) -> None:
    """A Job's template cannot change, so the limits that can are applied over the live one."""
    training(garden, node)
    job = job_of(garden, "bot-train")
    other = {"metadata": {"annotations": {"modelgarden.dev/desired-hash": "of-another-version"}}}
    garden.api.merge(JOBS, job, other)

    change(garden, backoffLimit=9)

    wait_for(lambda: job_of(garden, "bot-train")["spec"]["backoffLimit"] == 9, 10, what="the new limit")
    assert job_of(garden, "bot-train")["metadata"]["uid"] == job["metadata"]["uid"]
    assert job_of(garden, "bot-train")["spec"]["template"] == job["spec"]["template"]
    stays(lambda: reason(garden.finetunejob("bot"), "Accepted") == "Accepted", 2)


def test_a_deadline_ends_the_job_and_its_pods(garden: Garden, node: FakeNode) -> None:
    training(garden, node)

    change(garden, activeDeadlineSeconds=1)

    failed = wait_for_phase(garden, "Failed", 10)
    assert reason(failed, "Failed") == "DeadlineExceeded"
    wait_for(lambda: garden.api.get(JOBS, garden.namespace, "bot-train") is None, what="the end of the Job")
    stays(lambda: phase(garden.finetunejob("bot")) == "Failed", 2)


def test_a_deadline_is_kept_without_any_event(garden: Garden) -> None:
    garden.create_finetunejob("bot", activeDeadlineSeconds=4)

    wait_for_phase(garden, "Failed", 15)


def test_a_finished_job_is_deleted_after_its_time(garden: Garden, node: FakeNode, api: Api) -> None:
    done = complete(garden, node, training(garden, node))

    change(garden, ttlSecondsAfterFinished=2)

    wait_for(lambda: api.get(FINETUNEJOBS, garden.namespace, "bot") is None, 15, what="the deletion")
    wait_for(lambda: api.list(JOBS, garden.namespace) == [], 60, what="the deletion of the Jobs")
    assert garden.keys(f"garden/runs/{garden.namespace}/bot/{done['metadata']['uid']}/manifest.json")


def test_the_end_stays_the_end(garden: Garden, node: FakeNode) -> None:
    complete(garden, node, training(garden, node))

    garden.api.delete(JOBS, garden.namespace, "bot-train")
    garden.api.delete(JOBS, garden.namespace, "bot-prepare")
    change(garden, suspend=True)

    def observed() -> bool:
        job = garden.finetunejob("bot")
        return bool(job["status"]["observedGeneration"] == job["metadata"]["generation"])

    wait_for(observed, what="the new generation to be observed")
    stays(lambda: garden.api.list(JOBS, garden.namespace) == [], 3, what="no Job")
    assert phase(garden.finetunejob("bot")) == "Complete"


def test_a_train_job_that_somebody_deletes_is_made_again(garden: Garden, node: FakeNode) -> None:
    trainer = training(garden, node)
    first = {pod["metadata"]["uid"] for pod in node.pods("bot-train")}

    garden.api.delete(JOBS, garden.namespace, "bot-train")
    wait_for(
        lambda: {pod["metadata"]["uid"] for pod in node.active_pods("bot-train")} - first,
        what="a pod of the next Job",
    )
    wait_for(lambda: len(node.pods("bot-train")) == 1, what="the end of the first pod")

    done = complete(garden, node, trainer)
    assert len(done["status"]["attempts"]) == 2


def test_a_job_of_the_same_name_after_deletion_is_another_run(
    garden: Garden, node: FakeNode, api: Api
) -> None:
    first = complete(garden, node, training(garden, node))
    api.delete(FINETUNEJOBS, garden.namespace, "bot")
    wait_for(lambda: api.get(FINETUNEJOBS, garden.namespace, "bot") is None, what="the deletion")

    garden.create_finetunejob("bot")

    def anew() -> bool:
        job = api.get(JOBS, garden.namespace, "bot-prepare")
        if job is None:
            return False
        (owner,) = job["metadata"]["ownerReferences"]
        return bool(owner["uid"] == garden.finetunejob("bot")["metadata"]["uid"])

    wait_for(anew, 60, what="the second run's own Job")
    assert garden.finetunejob("bot")["metadata"]["uid"] != first["metadata"]["uid"]
    trainer = Trainer.of(garden, garden.finetunejob("bot"))
    node.run("bot-prepare")
    node.succeed("bot-prepare", trainer.prepare())
    second = complete(garden, node, trainer)
    assert second["status"]["artifact"]["version"] == 2


def test_a_deleted_job_leaves_no_pod(garden: Garden, node: FakeNode, api: Api) -> None:
    training(garden, node)

    api.delete(FINETUNEJOBS, garden.namespace, "bot")

    wait_for(lambda: not node.pods("bot-train") and not node.pods("bot-prepare"), 60, what="no pod")
    assert api.list(JOBS, garden.namespace) == []


def test_every_reason_is_of_the_closed_list(garden: Garden, node: FakeNode) -> None:
    training(garden, node)
    change(garden, suspend=True)
    job = wait_for_phase(garden, "Suspended", 10)

    assert all(one["reason"] in REASONS for one in job["status"]["conditions"])
