"""FineTuneJobs that train on from an earlier result: what they wait for, what they take, and what does not change it."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden.api.finetunejob import BaseModelRecord
from modelgarden.api.layout import MANIFEST, MERGED_DIR
from modelgarden.api.pods import RunConfig, TerminationMessage
from modelgarden.kube.resources import EVENTS, FINETUNEJOBS, JOBS
from tests.integration.harness.api import Obj, condition, phase, reason
from tests.integration.harness.garden import Garden
from tests.integration.harness.node import FakeNode
from tests.integration.harness.waiting import stays, wait_for
from tests.integration.trainer import Trainer

pytestmark = pytest.mark.usefixtures("operator")

TOLD_SECONDS = 10.0
"""From an event of one job to what is told of another."""
ROOT = BaseModelRecord(source="hf://org/name", revision="0123abc", digest="ab" * 32)
ON_FIRST = {"fineTuneJobRef": {"name": "first"}}
LATEST = {"registry": {"name": "first", "alias": "latest"}}


def told(garden: Garden, name: str, want: str, *, seconds: float = TOLD_SECONDS) -> Obj:
    """Wait until a job is not accepted for the reason; return it."""

    def refused() -> Obj:
        job = garden.finetunejob(name)
        assert (condition(job, "Accepted").get("status"), reason(job, "Accepted")) == ("False", want), (
            job.get("status")
        )
        return job

    return wait_for(refused, seconds, what=f"{name} not accepted for {want}")


def prepare(garden: Garden, node: FakeNode, name: str) -> Trainer:
    """Bring a job to its training."""
    node.run(f"{name}-prepare")
    trainer = Trainer.of(garden, garden.finetunejob(name))
    node.succeed(f"{name}-prepare", trainer.prepare())
    node.wait_for_pod(f"{name}-train")
    return trainer


def complete(garden: Garden, node: FakeNode, name: str, **manifest: Any) -> Trainer:
    """Bring a job to its end; keywords are fields of its manifest."""
    trainer = prepare(garden, node, name)
    node.run(f"{name}-train")
    node.succeed(f"{name}-train", trainer.train(**manifest))
    wait_for(lambda: phase(garden.finetunejob(name)) == "Complete", what=f"the end of {name}")
    return trainer


def config_of(garden: Garden, job: str) -> RunConfig:
    """Return what a Job's pods are configured with."""
    found = garden.api.get(JOBS, garden.namespace, job)
    assert found is not None
    (container,) = found["spec"]["template"]["spec"]["containers"]
    (text,) = (one["value"] for one in container["env"] if one["name"] == "MODELGARDEN_CONFIG")
    return RunConfig.model_validate_json(text)


def test_jobs_that_are_applied_at_once_train_one_after_the_other(garden: Garden, node: FakeNode) -> None:
    garden.create_finetunejob("second", model=ON_FIRST)
    job = told(garden, "second", "FineTuneJobNotFound")
    assert phase(job) == "Pending"
    garden.create_finetunejob("first")
    told(garden, "second", "WaitingForFineTuneJob")

    first = complete(garden, node, "first", base_model=ROOT)

    node.wait_for_pod("second-prepare")
    parent = garden.recorded("second", "parent")
    artifact = garden.finetunejob("first")["status"]["artifact"]
    assert parent == {
        "uri": artifact["uri"],
        "manifestSha256": artifact["manifestSha256"],
        "modelName": "first",
        "version": 1,
        "job": "first",
        "source": str(first.folder.child(MERGED_DIR)),
        "root": ROOT.to_dict(),
    }
    # What it began with outlives the job that made it.
    garden.api.delete(FINETUNEJOBS, garden.namespace, "first")
    prepare(garden, node, "second")
    for step in ("prepare", "train"):
        config = config_of(garden, f"second-{step}")
        assert config.model_source == parent["source"]
        assert config.parent is not None
        assert config.parent.to_dict() == parent
    assert condition(garden.finetunejob("second"), "Accepted")["status"] == "True"
    warnings = [
        event["reason"]
        for event in garden.api.list(EVENTS, garden.namespace)
        if event["regarding"]["name"] == "second" and event["type"] == "Warning"
    ]
    assert warnings == []


def test_the_root_of_a_chain_is_handed_on(garden: Garden, node: FakeNode) -> None:
    garden.create_finetunejob("first")
    complete(garden, node, "first", base_model=ROOT)
    garden.create_finetunejob("second", model=ON_FIRST)
    prepare(garden, node, "second")
    parent = config_of(garden, "second-train").parent
    assert parent is not None
    trainer = Trainer.of(garden, garden.finetunejob("second"))
    node.run("second-train")
    node.succeed(
        "second-train",
        trainer.train(parent=parent, base_model=BaseModelRecord(source=parent.source, digest="cd" * 32)),
    )

    garden.create_finetunejob("third", model={"registry": {"name": "second", "version": 1}})

    node.wait_for_pod("third-prepare", 60)
    found = garden.recorded("third", "parent")
    assert (found["job"], found["root"]) == ("second", ROOT.to_dict())
    assert found["uri"] == str(trainer.folder.child(MANIFEST))


def test_an_alias_that_moves_changes_nothing_for_a_job_that_has_begun(garden: Garden, node: FakeNode) -> None:
    garden.create_finetunejob("first")
    complete(garden, node, "first")
    garden.create_finetunejob("on", model=LATEST)
    node.wait_for_pod("on-prepare")
    output = {"uri": f"s3://{garden.bucket}/garden", "modelName": "first"}
    garden.create_finetunejob("newer", output=output)
    complete(garden, node, "newer")
    assert garden.read_json(f"garden/models/{garden.namespace}/first/aliases/latest.json")["version"] == 2

    prepare(garden, node, "on")

    parent = config_of(garden, "on-train").parent
    assert parent is not None
    assert parent.version == 1
    assert garden.finetunejob("on")["status"]["parent"] == parent.to_dict()


def test_a_version_that_is_not_there_is_told_and_its_registration_is_enough(
    garden: Garden, node: FakeNode
) -> None:
    garden.create_finetunejob("on", model={"registry": {"name": "first", "version": 1}})
    job = told(garden, "on", "VersionNotFound")
    assert phase(job) == "Blocked"
    assert f"models/{garden.namespace}/first has no version 1" in condition(job, "Accepted")["message"]
    assert garden.api.list(JOBS, garden.namespace) == []

    garden.create_finetunejob("first")
    complete(garden, node, "first")

    node.wait_for_pod("on-prepare")


def test_a_job_that_failed_is_told_and_another_of_its_name_is_enough(garden: Garden, node: FakeNode) -> None:
    garden.create_finetunejob("first", backoffLimit=0)
    garden.create_finetunejob("second", model=ON_FIRST)
    prepare(garden, node, "first")
    node.run("first-train")
    refusal = TerminationMessage(reason="InvalidConfiguration", message="So it is.")
    node.end("first-train", exit_code=64, message=refusal)

    job = told(garden, "second", "FineTuneJobFailed", seconds=30)
    assert phase(job) == "Blocked"
    assert "(InvalidConfiguration): So it is." in condition(job, "Accepted")["message"]
    garden.api.delete(FINETUNEJOBS, garden.namespace, "first")
    told(garden, "second", "FineTuneJobNotFound")
    wait_for(
        lambda: not garden.api.list(JOBS, garden.namespace), 60, what="the end of what the first one made"
    )
    garden.create_finetunejob("first")
    complete(garden, node, "first")

    node.wait_for_pod("second-prepare")


def test_a_result_without_a_merge_is_refused(garden: Garden, node: FakeNode) -> None:
    garden.create_finetunejob("first")
    complete(garden, node, "first", formats={"Adapter": "artifact/adapter"})

    garden.create_finetunejob("second", model=ON_FIRST)

    job = told(garden, "second", "FormatNotFound")
    assert "first version 1 has no 16-bit merge to train on from" in condition(job, "Accepted")["message"]


def test_a_merge_that_is_not_what_was_registered_is_refused_and_restoring_it_is_enough(
    garden: Garden, node: FakeNode
) -> None:
    garden.create_finetunejob("first")
    trainer = complete(garden, node, "first")
    garden.put(trainer.folder.child(f"{MERGED_DIR}/model.safetensors").key, "other weights")

    garden.create_finetunejob("second", model=ON_FIRST)

    job = told(garden, "second", "ArtifactInvalid")
    assert "model.safetensors" in condition(job, "Accepted")["message"]
    trainer.train()
    node.wait_for_pod("second-prepare")


def test_jobs_that_wait_for_each_other_are_told_and_a_way_out_is_enough(
    garden: Garden, node: FakeNode
) -> None:
    garden.create_finetunejob("first", model={"fineTuneJobRef": {"name": "second"}})
    garden.create_finetunejob("second", model=ON_FIRST)

    for name, way in (("first", "first -> second -> first"), ("second", "second -> first -> second")):
        job = told(garden, name, "CircularReference")
        assert way in condition(job, "Accepted")["message"]
    version = garden.finetunejob("first")["metadata"]["resourceVersion"]
    stays(
        lambda: garden.finetunejob("first")["metadata"]["resourceVersion"] == version,
        3,
        what="what is written of the first",
    )

    garden.api.delete(FINETUNEJOBS, garden.namespace, "first")
    told(garden, "second", "FineTuneJobNotFound")
    garden.create_finetunejob("first")
    node.wait_for_pod("first-prepare")
    told(garden, "second", "WaitingForFineTuneJob")
