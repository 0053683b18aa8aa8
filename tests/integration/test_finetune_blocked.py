"""Bad input gets a condition within ten seconds, and the job goes on by itself once it is mended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hack.cluster import S3Server, start_s3
from modelgarden.api.pods import TerminationMessage
from modelgarden.controller.storage import SECRET_SECONDS
from modelgarden.kube.resources import EVENTS, FINETUNEJOBS, JOBS, SECRETS
from tests.integration.harness.api import RESOURCE_QUOTAS, Api, Obj, condition, phase, reason
from tests.integration.harness.garden import ROWS, SECRET, Garden
from tests.integration.harness.node import FakeNode
from tests.integration.harness.waiting import stays, wait_for
from tests.integration.strange_services import Page, web_server
from tests.integration.trainer import Trainer

pytestmark = pytest.mark.usefixtures("operator")

FOUND_SECONDS = 10.0
"""A problem is visible within so many seconds of being found."""
MENDED_SECONDS = 10.0
"""What was mended is seen within so many seconds, however long it was wrong; cached answers included."""
POD_SECONDS = 10.0
"""What the Job controller may take for a pod, and the operator for a look, on a machine full of other tests."""
REGISTERED_SECONDS = 30.0
"""From S3's return to a registered artifact: the next look, and the registration itself."""


@pytest.fixture
def own_garden(api: Api, namespace: str, tmp_path: Path) -> Iterator[Garden]:
    """A garden whose S3 server may go away."""
    server = start_s3(tmp_path)
    planted = Garden(api, server, namespace)
    planted.plant()
    yield planted
    server.stop()


def blocked_by(garden: Garden, kind: str, want: str) -> Obj:
    """Wait until a condition has the reason; return the FineTuneJob."""

    def told() -> Obj:
        job = garden.finetunejob("bot")
        assert (condition(job, kind).get("status"), reason(job, kind)) == ("False", want), job.get("status")
        return job

    return wait_for(told, FOUND_SECONDS, what=f"{kind}=False for {want}")


def goes_on(garden: Garden, node: FakeNode) -> Trainer:
    """Check that the same resource is prepared and trains now."""
    job = garden.finetunejob("bot")
    node.wait_for_pod("bot-prepare", MENDED_SECONDS + POD_SECONDS)
    trainer = Trainer.of(garden, job)
    node.run("bot-prepare")
    node.succeed("bot-prepare", trainer.prepare())
    node.wait_for_pod("bot-train")

    def accepted() -> Obj:
        after = garden.finetunejob("bot")
        assert condition(after, "Accepted")["status"] == "True", after["status"]
        return after

    assert wait_for(accepted)["metadata"]["uid"] == job["metadata"]["uid"]
    return trainer


Change = Callable[[Garden], None]


def without_secret(garden: Garden) -> None:
    garden.api.delete(SECRETS, garden.namespace, SECRET)


def with_secret(garden: Garden) -> None:
    garden.api.delete(SECRETS, garden.namespace, SECRET)
    garden.create_secret()


def with_half_a_secret(garden: Garden) -> None:
    without_secret(garden)
    metadata = {"name": SECRET, "namespace": garden.namespace}
    garden.api.create(SECRETS, {"metadata": metadata, "stringData": {"AWS_ACCESS_KEY_ID": "a"}})


def with_wrong_keys(garden: Garden) -> None:
    without_secret(garden)
    keys = {"AWS_ACCESS_KEY_ID": garden.s3.access_key, "AWS_SECRET_ACCESS_KEY": "wrong"}
    metadata = {"name": SECRET, "namespace": garden.namespace}
    garden.api.create(SECRETS, {"metadata": metadata, "stringData": keys})


def removed(key: str) -> Change:
    return lambda garden: garden.objects.delete_object(Bucket=garden.bucket, Key=key) and None


def put(key: str, body: str) -> Change:
    return lambda garden: garden.put(key, body)


def with_bucket(name: str) -> Change:
    return lambda garden: garden.objects.create_bucket(Bucket=f"{garden.bucket}-{name}") and None


DATA = "\n".join(json.dumps(row) for row in ROWS)


@pytest.mark.parametrize(
    ("spoil", "mend", "want_reason", "want_words"),
    [
        pytest.param(
            without_secret, with_secret, "SecretNotFound", "Secret 's3' does not exist",
            id="a missing secret",
        ),
        pytest.param(
            with_half_a_secret, with_secret, "SecretInvalid", "lacks AWS_SECRET_ACCESS_KEY",
            id="a secret that lacks a key",
        ),
        pytest.param(
            with_wrong_keys, with_secret, "AccessDenied", "Check the keys",
            id="wrong keys",
        ),
        pytest.param(
            removed("data.jsonl"), put("data.jsonl", DATA), "DatasetNotFound", "data.jsonl does not exist",
            id="a missing dataset",
        ),
        pytest.param(
            removed("model/config.json"), put("model/config.json", "{}"), "ModelNotFound", "model/config.json",
            id="a missing model",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_told_and_its_mending_is_enough(
    garden: Garden, node: FakeNode, spoil: Change, mend: Change, want_reason: str, want_words: str
) -> None:
    spoil(garden)
    garden.create_finetunejob("bot")

    job = blocked_by(garden, "Accepted", want_reason)
    assert want_words in condition(job, "Accepted")["message"]
    assert phase(job) == "Blocked"
    assert garden.api.list(JOBS, garden.namespace) == []
    mend(garden)

    goes_on(garden, node)


def test_what_was_wrong_for_long_goes_on_as_soon(garden: Garden, node: FakeNode, api: Api) -> None:
    removed("data.jsonl")(garden)
    garden.create_finetunejob("bot")
    job = blocked_by(garden, "Accepted", "DatasetNotFound")
    found = [{**one, "lastTransitionTime": "2026-01-01T00:00:00Z"} for one in job["status"]["conditions"]]
    api.merge(FINETUNEJOBS, job, {"status": {"conditions": found}}, subresource="status")

    def believed() -> bool:
        """The operator keeps the time, so it takes the job for one that has been blocked for months."""
        accepted = condition(garden.finetunejob("bot"), "Accepted")
        return bool(accepted["lastTransitionTime"].startswith("2026-01-01"))

    stays(believed, FOUND_SECONDS, what="the time since when it is blocked")
    put("data.jsonl", DATA)(garden)

    goes_on(garden, node)


@pytest.mark.parametrize("field", ["output", "dataset", "model"])
def test_a_missing_bucket_is_told_and_creating_it_is_enough(
    garden: Garden, node: FakeNode, field: str
) -> None:
    bucket = f"{garden.bucket}-absent"
    spec: dict[str, Any] = {
        "output": {"output": {"uri": f"s3://{bucket}/garden", "modelName": "bot"}},
        "dataset": {"dataset": {"source": f"s3://{bucket}/data.jsonl"}},
        "model": {"model": {"source": f"s3://{bucket}/model"}},
    }[field]
    garden.create_finetunejob("bot", **spec)

    job = blocked_by(garden, "Accepted", "BucketNotFound")
    assert bucket in condition(job, "Accepted")["message"]
    garden.objects.create_bucket(Bucket=bucket)
    garden.objects.put_object(Bucket=bucket, Key="data.jsonl", Body=DATA.encode())
    garden.objects.put_object(Bucket=bucket, Key="model/config.json", Body=b"{}")

    node.wait_for_pod("bot-prepare", MENDED_SECONDS + POD_SECONDS)


def test_an_endpoint_that_is_no_s3_service_is_told_before_anything_is_looked_for(garden: Garden) -> None:
    with web_server(Page(b'{"error": "not found"}', 404, {"Content-Type": "application/json"})) as endpoint:
        garden.create_finetunejob("bot", storage={**garden.storage, "endpoint": endpoint})

        job = blocked_by(garden, "Accepted", "EndpointInvalid")

    assert f"{endpoint} is no S3 service" in condition(job, "Accepted")["message"]
    assert garden.api.list(JOBS, garden.namespace) == []


def test_a_missing_hub_token_is_told_and_creating_it_is_enough(garden: Garden, node: FakeNode) -> None:
    garden.create_finetunejob("bot", model={"source": "hf://org/name", "tokenSecretRef": {"name": "hub"}})

    blocked_by(garden, "Accepted", "SecretNotFound")
    metadata = {"name": "hub", "namespace": garden.namespace}
    garden.api.create(SECRETS, {"metadata": metadata, "stringData": {"OTHER": "x"}})
    wait_for(
        lambda: reason(garden.finetunejob("bot"), "Accepted") == "SecretInvalid", MENDED_SECONDS + POD_SECONDS
    )
    garden.api.delete(SECRETS, garden.namespace, "hub")
    garden.api.create(SECRETS, {"metadata": metadata, "stringData": {"HF_TOKEN": "x"}})

    node.wait_for_pod("bot-prepare", MENDED_SECONDS + POD_SECONDS)


def test_a_trackers_secret_is_told_before_a_gpu_is_taken(garden: Garden, node: FakeNode) -> None:
    asked = {"trackingUri": "http://mlflow.test", "experiment": "bots", "secretRef": {"name": "mlflow"}}
    garden.create_finetunejob("bot", trackers={"mlflow": asked})

    blocked_by(garden, "Accepted", "SecretNotFound")
    metadata = {"name": "mlflow", "namespace": garden.namespace}
    garden.api.create(SECRETS, {"metadata": metadata, "stringData": {"MLFLOW_TRACKING_USERNAME": "me"}})
    wait_for(
        lambda: reason(garden.finetunejob("bot"), "Accepted") == "SecretInvalid", MENDED_SECONDS + POD_SECONDS
    )
    garden.api.delete(SECRETS, garden.namespace, "mlflow")
    garden.api.create(SECRETS, {"metadata": metadata, "stringData": {"MLFLOW_TRACKING_TOKEN": "token-1"}})

    node.wait_for_pod("bot-prepare", MENDED_SECONDS + POD_SECONDS)


@pytest.mark.parametrize(
    ("mend", "want_reason", "words"),
    [
        pytest.param(
            put("data.jsonl", f"{DATA}\n{json.dumps(ROWS[0])}"),
            "DatasetInvalid", "Line 17: the field completion is missing.",
            id="a bad row",
        ),
        pytest.param(
            with_secret, "AccessDenied", "S3 refused s3:PutObject on s3://garden/x",
            id="keys that may only read",
        ),
    ],
)  # fmt: skip
def test_what_prepare_refuses_is_told_and_its_mending_is_enough(
    garden: Garden, node: FakeNode, mend: Change, want_reason: str, words: str
) -> None:
    garden.create_finetunejob("bot")
    node.run("bot-prepare")
    node.end("bot-prepare", exit_code=64, message=TerminationMessage(reason=want_reason, message=words))

    job = blocked_by(garden, "DatasetReady", want_reason)
    assert words in condition(job, "DatasetReady")["message"]
    assert phase(job) == "Blocked"
    first = garden.api.get(JOBS, garden.namespace, "bot-prepare")
    assert first is not None
    mend(garden)

    def started_again() -> bool:
        job = garden.api.get(JOBS, garden.namespace, "bot-prepare")
        return job is not None and job["metadata"]["uid"] != first["metadata"]["uid"]

    wait_for(started_again, MENDED_SECONDS + 30, what="a new prepare Job")
    goes_on(garden, node)


def test_a_crash_of_prepare_blocks_without_failing(garden: Garden, node: FakeNode, api: Api) -> None:
    garden.create_finetunejob("bot")
    node.run("bot-prepare")
    job = api.get(JOBS, garden.namespace, "bot-prepare")
    assert job is not None
    # Spares the test the Job controller's back-off between three pods.
    api.merge(JOBS, job, {"spec": {"backoffLimit": 0}})

    node.end("bot-prepare", exit_code=1, message="MemoryError")

    told = blocked_by(garden, "DatasetReady", "PrepareFailed")
    assert "MemoryError" in condition(told, "DatasetReady")["message"]
    assert "Failed" not in {one["type"] for one in told["status"]["conditions"]}


def test_a_quota_without_room_is_told_and_room_is_enough(garden: Garden, node: FakeNode, api: Api) -> None:
    quota = {"metadata": {"name": "none", "namespace": garden.namespace}, "spec": {"hard": {"pods": "0"}}}
    api.create(RESOURCE_QUOTAS, quota)
    garden.create_finetunejob("bot")

    told = blocked_by(garden, "DatasetReady", "ApplyRejected")
    assert "quota" in condition(told, "DatasetReady")["message"]
    assert phase(told) == "Blocked"
    api.delete(RESOURCE_QUOTAS, garden.namespace, "none")

    goes_on(garden, node)


def test_what_the_kubelet_says_of_a_pod_that_does_not_start_is_told(
    garden: Garden, node: FakeNode, api: Api
) -> None:
    garden.create_finetunejob("bot")
    pod = node.wait_reason("bot-prepare", "ContainerCreating", "")
    api.create(EVENTS, sandbox_failure(pod))

    told = blocked_by(garden, "DatasetReady", "StartFailed")
    message = condition(told, "DatasetReady")["message"]
    assert pod["metadata"]["name"] in message
    assert "FailedCreatePodSandBox: container init was OOM-killed" in message
    node.run("bot-prepare")
    wait_for(
        lambda: reason(garden.finetunejob("bot"), "DatasetReady") == "Preparing",
        FOUND_SECONDS,
        what="the pod that starts after all",
    )


def sandbox_failure(pod: Obj) -> Obj:
    """Return the event that a kubelet posts where a pod's sandbox cannot be made."""
    metadata = pod["metadata"]
    return {
        "metadata": {"name": f"{metadata['name']}.sandbox", "namespace": metadata["namespace"]},
        "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": "Warning",
        "reason": "FailedCreatePodSandBox",
        "note": "container init was OOM-killed (memory limit too low?)",
        "action": "Start",
        "reportingController": "kubelet",
        "reportingInstance": "node-1",
        "regarding": {"kind": "Pod", **{key: metadata[key] for key in ("namespace", "name", "uid")}},
    }


def test_storage_that_is_away_at_the_start_is_waited_for(own_garden: Garden, node: FakeNode) -> None:
    own_garden.s3.stop()
    own_garden.create_finetunejob("bot")

    blocked_by(own_garden, "Accepted", "StorageUnavailable")
    own_garden.s3.start()

    goes_on(own_garden, node)


def test_storage_that_is_away_at_registration_loses_nothing(own_garden: Garden, node: FakeNode) -> None:
    own_garden.create_finetunejob("bot")
    trainer = goes_on(own_garden, node)
    node.run("bot-train")
    message = trainer.train()
    own_garden.s3.stop()
    node.succeed("bot-train", message)

    waiting = blocked_by(own_garden, "ArtifactRegistered", "StorageUnavailable")
    assert phase(waiting) == "Registering"
    own_garden.s3.start()

    wait_for(lambda: phase(own_garden.finetunejob("bot")) == "Complete", REGISTERED_SECONDS)
    assert own_garden.finetunejob("bot")["status"]["artifact"]["version"] == 1


def test_an_artifact_survives_the_deletion_of_its_job_while_storage_is_away(
    own_garden: Garden, node: FakeNode, api: Api
) -> None:
    own_garden.create_finetunejob("bot")
    trainer = goes_on(own_garden, node)
    node.run("bot-train")
    message = trainer.train()
    own_garden.s3.stop()
    node.succeed("bot-train", message)
    blocked_by(own_garden, "ArtifactRegistered", "StorageUnavailable")

    api.delete(JOBS, own_garden.namespace, "bot-train")
    stays(lambda: not node.active_pods("bot-train"), 6, what="no second training")
    own_garden.s3.start()

    wait_for(lambda: phase(own_garden.finetunejob("bot")) == "Complete", REGISTERED_SECONDS)
    assert own_garden.finetunejob("bot")["status"]["artifact"]["version"] == 1
    assert api.get(JOBS, own_garden.namespace, "bot-train") is None


def test_a_secret_that_is_gone_at_registration_loses_nothing(garden: Garden, node: FakeNode) -> None:
    garden.create_finetunejob("bot")
    trainer = goes_on(garden, node)
    node.run("bot-train")
    message = trainer.train()
    without_secret(garden)
    # The operator keeps a secret for a moment.
    stays(lambda: phase(garden.finetunejob("bot")) == "Training", SECRET_SECONDS + 1)
    node.succeed("bot-train", message)

    blocked_by(garden, "ArtifactRegistered", "SecretNotFound")
    garden.create_secret()

    wait_for(lambda: phase(garden.finetunejob("bot")) == "Complete", REGISTERED_SECONDS)


def test_storage_that_is_away_does_not_delay_others(
    own_garden: Garden, s3: S3Server, node: FakeNode, api: Api
) -> None:
    """An endpoint that swallows every packet is the worst kind of away: nothing is refused, all waits."""
    nowhere = {**own_garden.storage, "endpoint": "http://192.0.2.1:9000"}
    for number in range(24):
        own_garden.create_finetunejob(f"lost-{number}", storage=nowhere)
    wait_for(
        lambda: reason(own_garden.finetunejob("lost-0"), "Accepted") == "StorageUnavailable",
        30,
        what="the first to be told",
    )

    own_garden.create_finetunejob("bot")

    node.wait_for_pod("bot-prepare", FOUND_SECONDS)
