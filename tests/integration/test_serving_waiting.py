"""What a ModelDeployment waits for, what it says meanwhile, and that it goes on by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.cluster import start_s3
from modelgarden.api.artifact import FileEntry
from modelgarden.api.layout import ADAPTER_DIR, SHA256_METADATA
from modelgarden.api.pods import TerminationMessage
from modelgarden.kube.resources import FINETUNEJOBS, MODELDEPLOYMENTS, SECRETS
from tests.integration.harness.api import Api, Obj, condition, phase, reason
from tests.integration.harness.garden import SECRET, Garden
from tests.integration.harness.node import FakeNode
from tests.integration.harness.reports import pod_report
from tests.integration.harness.waiting import stays, wait_for
from tests.integration.serving_node import ServingNode
from tests.integration.strange_services import Page, web_server
from tests.integration.trainer import Trainer
from tests.unit.builders import make_manifest

pytestmark = pytest.mark.usefixtures("operator")

FOUND_SECONDS = 10.0
MENDED_SECONDS = 30.0


@pytest.fixture
def serving(api: Api, namespace: str) -> ServingNode:
    """Who plays the nodes."""
    return ServingNode(api, namespace)


@pytest.fixture
def own_garden(api: Api, namespace: str, tmp_path: Path) -> Iterator[Garden]:
    """A garden whose S3 server may go away."""
    server = start_s3(tmp_path)
    planted = Garden(api, server, namespace)
    planted.plant()
    yield planted
    server.stop()


def says(
    garden: Garden, kind: str, want: str, *, status: str = "False", seconds: float = FOUND_SECONDS
) -> Obj:
    """Wait until a condition has the reason; return the ModelDeployment."""

    def told() -> Obj:
        found = garden.modeldeployment("bot")
        assert (condition(found, kind).get("status"), reason(found, kind)) == (status, want), found.get(
            "status"
        )
        return found

    return wait_for(told, seconds, what=f"{kind}={status} for {want}")


def becomes_ready(garden: Garden, serving: ServingNode, timeout: float = 60) -> Obj:
    found: Obj = serving.play_until(
        lambda: phase(one := garden.modeldeployment("bot")) == "Ready" and one, timeout, what="phase Ready"
    )
    return found


def finish(garden: Garden, node: FakeNode, name: str) -> Trainer:
    """Bring a FineTuneJob to its artifact."""
    trainer = Trainer.of(garden, garden.finetunejob(name))
    node.run(f"{name}-prepare")
    node.succeed(f"{name}-prepare", trainer.prepare())
    node.run(f"{name}-train")
    node.succeed(f"{name}-train", trainer.train())
    return trainer


def leave_adapter(garden: Garden, trainer: Trainer) -> TerminationMessage:
    """Leave an artifact that has nothing but an adapter."""
    name, digest = f"{ADAPTER_DIR}/adapter_model.safetensors", hashlib.sha256(b"weights").hexdigest()
    garden.put(trainer.folder.child(name).key, "weights", Metadata={SHA256_METADATA: digest})
    entry = FileEntry(path=name, sha256=digest, bytes=7)
    manifest = make_manifest(
        run=trainer.run, model_name=trainer.model_name, formats={"Adapter": ADAPTER_DIR}, files=(entry,)
    )
    return trainer.leave(manifest)


def test_it_waits_for_its_job_from_before_it_exists_until_its_artifact(
    garden: Garden, node: FakeNode, serving: ServingNode
) -> None:
    garden.create_modeldeployment("bot", model={"fineTuneJobRef": {"name": "tune"}})
    assert phase(says(garden, "ModelResolved", "FineTuneJobNotFound")) == "Pending"

    garden.create_finetunejob("tune")
    says(garden, "ModelResolved", "WaitingForFineTuneJob")
    assert serving.deployments() == {}
    finish(garden, node, "tune")

    found = becomes_ready(garden, serving)
    artifact = garden.finetunejob("tune")["status"]["artifact"]
    assert found["status"]["artifact"] == {
        "uri": artifact["uri"],
        "sha256": artifact["manifestSha256"],
        "version": 1,
    }


def test_it_goes_on_serving_when_its_job_is_deleted_and_rolls_to_the_next_one(
    garden: Garden, node: FakeNode, serving: ServingNode, api: Api
) -> None:
    garden.create_finetunejob("tune")
    garden.create_modeldeployment("bot", model={"fineTuneJobRef": {"name": "tune"}})
    finish(garden, node, "tune")
    before = becomes_ready(garden, serving)["status"]["artifact"]

    api.delete(FINETUNEJOBS, garden.namespace, "tune")
    wait_for(lambda: api.get(FINETUNEJOBS, garden.namespace, "tune") is None)
    stays(lambda: garden.modeldeployment("bot")["status"]["artifact"] == before, 2)
    assert phase(garden.modeldeployment("bot")) == "Ready"

    wait_for(lambda: not node.pods("tune-train"), 60, what="the end of the first job's pods")
    garden.create_finetunejob("tune")
    finish(garden, node, "tune")
    serving.play_until(
        lambda: garden.modeldeployment("bot")["status"]["artifact"] != before, what="the next artifact"
    )
    assert becomes_ready(garden, serving)["status"]["artifact"]["version"] == 2


def test_an_endpoint_that_is_no_s3_service_is_told(garden: Garden, serving: ServingNode) -> None:
    with web_server(Page(b"<!DOCTYPE html><p>Welcome<br>")) as endpoint:
        garden.create_modeldeployment("bot", storage={**garden.storage, "endpoint": endpoint})

        found = says(garden, "ModelResolved", "EndpointInvalid")

    assert f"{endpoint} is no S3 service" in condition(found, "ModelResolved")["message"]
    assert serving.deployments() == {}


def test_an_artifact_without_a_merge_is_told(garden: Garden, node: FakeNode) -> None:
    garden.create_finetunejob("tune", output={
        "uri": f"s3://{garden.bucket}/garden", "modelName": "tune", "formats": ["Adapter"],
    })  # fmt: skip
    garden.create_modeldeployment("bot", model={"fineTuneJobRef": {"name": "tune"}})
    trainer = Trainer.of(garden, garden.finetunejob("tune"))
    node.run("tune-prepare")
    node.succeed("tune-prepare", trainer.prepare())
    node.run("tune-train")
    node.succeed("tune-train", leave_adapter(garden, trainer))

    found = says(garden, "ModelResolved", "FormatNotFound", seconds=MENDED_SECONDS)

    assert phase(found) == "Blocked"
    assert "Merged16Bit" in condition(found, "ModelResolved")["message"]


def test_a_missing_secret_is_told_and_mended(garden: Garden, serving: ServingNode, api: Api) -> None:
    api.delete(SECRETS, garden.namespace, SECRET)
    garden.create_modeldeployment("bot")
    found = says(garden, "Accepted", "SecretNotFound")
    assert phase(found) == "Blocked"
    assert SECRET in condition(found, "Accepted")["message"]

    garden.create_secret()

    says(garden, "Accepted", "Accepted", status="True", seconds=MENDED_SECONDS)
    becomes_ready(garden, serving)


def test_an_artifact_is_served_though_its_job_went_before_s3_could_be_asked(
    garden: Garden, node: FakeNode, serving: ServingNode, api: Api
) -> None:
    garden.create_finetunejob("tune")
    other = {**garden.storage, "credentialsSecretRef": {"name": "not-yet"}}
    garden.create_modeldeployment("bot", model={"fineTuneJobRef": {"name": "tune"}}, storage=other)
    finish(garden, node, "tune")
    wait_for(lambda: phase(garden.finetunejob("tune")) == "Complete", 60, what="the job's end")
    wait_for(lambda: garden.modeldeployment("bot")["status"].get("artifact"), what="the note of the artifact")

    api.delete(FINETUNEJOBS, garden.namespace, "tune")
    keys = {"AWS_ACCESS_KEY_ID": garden.s3.access_key, "AWS_SECRET_ACCESS_KEY": garden.s3.secret_key}
    api.create(SECRETS, {"metadata": {"name": "not-yet", "namespace": garden.namespace}, "stringData": keys})

    becomes_ready(garden, serving)


def test_a_model_that_is_not_there_is_told_and_mended(garden: Garden, serving: ServingNode) -> None:
    garden.create_modeldeployment("bot", model={"source": f"s3://{garden.bucket}/later"})
    found = says(garden, "ModelResolved", "ModelNotFound")
    assert "config.json" in condition(found, "ModelResolved")["message"]

    garden.put("later/model.safetensors", "weights")
    garden.put("later/config.json", "{}")

    says(garden, "ModelResolved", "Resolved", status="True", seconds=MENDED_SECONDS)
    becomes_ready(garden, serving)


def test_a_pod_that_runs_without_answering_says_what_it_awaits(garden: Garden, serving: ServingNode) -> None:
    serving.answering = lambda _: False
    garden.create_modeldeployment("bot")
    (pod,) = wait_for(serving.pods, what="the pod")
    name = pod["metadata"]["name"]
    engine = {"attempt": pod["metadata"]["uid"], "awaited": "bot"}
    serving.addresses[name] = "127.0.0.32"

    def progressing() -> str:
        return str(condition(garden.modeldeployment("bot"), "Progressing")["message"])

    with pod_report("127.0.0.32", engine=engine) as page:
        serving.play_until(
            lambda: f"Pod {name} awaits model 'bot'; its engine does not answer yet." in progressing(),
            2 * FOUND_SECONDS,
            what="what the pod awaits",
        )
        assert phase(garden.modeldeployment("bot")) == "RollingOut"
        page.pages["/engine"] = {**engine, "named": ["evil"]}

        found = says(garden, "Degraded", "PodsFailing", status="True", seconds=2 * FOUND_SECONDS)
        assert "/v1/models names 'evil' instead" in condition(found, "Progressing")["message"]
        page.pages["/engine"] = {**engine, "named": ["bot"]}
        serving.answer(pod)

        becomes_ready(garden, serving)


def test_a_bucket_that_is_not_there_is_told(garden: Garden) -> None:
    garden.create_modeldeployment("bot", model={"source": "s3://no-such-bucket/model"})

    says(garden, "ModelResolved", "BucketNotFound")


def test_files_that_change_at_the_source_make_a_revision(
    garden: Garden, serving: ServingNode, api: Api
) -> None:
    garden.create_modeldeployment("bot")
    before = becomes_ready(garden, serving)["status"]["artifact"]["sha256"]

    garden.put("model/model.safetensors", "other weights")

    # Any reconcile after the cached answer has aged sees it; a user's touch is one.
    def seen() -> bool:
        api.merge(
            MODELDEPLOYMENTS,
            garden.modeldeployment("bot"),
            {"metadata": {"annotations": {"touched": str(len(serving.pods()))}}},
        )
        return bool(garden.modeldeployment("bot")["status"]["artifact"]["sha256"] != before)

    serving.play_until(seen, 90, what="the new digest")
    becomes_ready(garden, serving)


def test_an_outage_of_s3_before_the_first_pod_is_waited_for(own_garden: Garden, serving: ServingNode) -> None:
    own_garden.s3.stop()
    own_garden.create_modeldeployment("bot")
    found = says(own_garden, "ModelResolved", "StorageUnavailable", seconds=30)
    assert phase(found) == "Blocked"

    own_garden.s3.start()

    becomes_ready(own_garden, serving, 90)


def test_an_outage_of_s3_leaves_running_pods_alone(
    own_garden: Garden, serving: ServingNode, api: Api
) -> None:
    own_garden.create_modeldeployment("bot")
    becomes_ready(own_garden, serving)
    pods = [pod["metadata"]["uid"] for pod in serving.pods()]
    own_garden.s3.stop()
    # Answers of S3 are kept for a while, and the pods' energy is asked for every 30 s: then it is noticed.
    found = says(own_garden, "Degraded", "StorageUnavailable", status="True", seconds=90)
    assert "Running pods go on" in condition(found, "Degraded")["message"]
    api.merge(
        MODELDEPLOYMENTS, own_garden.modeldeployment("bot"), {"spec": {"engine": {"args": {"maxNumSeqs": 2}}}}
    )
    stays(lambda: [pod["metadata"]["uid"] for pod in serving.pods()] == pods, 5, what="the same pods")

    own_garden.s3.start()

    serving.play_until(
        lambda: [pod["metadata"]["uid"] for pod in serving.pods()] != pods, 90, what="the new revision"
    )
    becomes_ready(own_garden, serving)
