"""A registered artifact on its way to a hub: the operator, the control plane and the storage are real, and so are the pod's
program and its client; the node that starts the pod is played.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelgarden.api.layout import MERGED_DIR
from modelgarden.api.names import EXIT_USER_ERROR
from modelgarden.api.pods import TerminationMessage
from modelgarden.kube.resources import EVENTS, FINETUNEJOBS, JOBS, SECRETS
from tests.integration.harness.api import Obj, condition, phase, reason
from tests.integration.harness.garden import Garden
from tests.integration.harness.node import FakeNode
from tests.integration.harness.waiting import stays, wait_for
from tests.integration.hub_writing import Account, WritableHub, serve_writable_hub
from tests.integration.trainer import Trainer
from tests.integration.trainer_process import Ended, TrainerProcess, trainer_python

pytestmark = pytest.mark.usefixtures("operator")

REPOSITORY = "garden/assistant"
WRITES, READS = "hf_a_token_that_may_write", "hf_a_token_that_only_reads"
TOLD_SECONDS = 60.0
BACKED_OFF_SECONDS = 120.0
"""The Job controller may remember the failure of the Job before, of the same name, and wait with the next pod."""


@pytest.fixture
def hub() -> Iterator[WritableHub]:
    with serve_writable_hub() as served:
        served.open_account(WRITES, Account("ada", orgs={"garden": "write"}))
        served.open_account(READS, Account("ada", orgs={"garden": "write"}, role="read"))
        yield served


def give_token(garden: Garden, token: str) -> None:
    """Have the secret hold a token."""
    metadata = {"name": "hub", "namespace": garden.namespace}
    garden.api.apply(
        SECRETS,
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"HF_TOKEN": token}},
    )


def output_of(garden: Garden, hub: WritableHub) -> dict[str, Any]:
    """Return an output that is published."""
    destination = {"repository": REPOSITORY, "tokenSecretRef": {"name": "hub"}, "endpoint": hub.endpoint}
    return {"uri": f"s3://{garden.bucket}/garden", "modelName": "bot", "hub": destination}


def registered(garden: Garden, node: FakeNode, hub: WritableHub, **spec: Any) -> Obj:
    """Bring a job to its registration."""
    trainer = Trainer.of(garden, garden.create_finetunejob("bot", output=output_of(garden, hub), **spec))
    node.run("bot-prepare")
    node.succeed("bot-prepare", trainer.prepare())
    node.run("bot-train")
    node.succeed("bot-train", trainer.train())
    wait_for(lambda: phase(garden.finetunejob("bot")) == "Complete", TOLD_SECONDS, what="the registration")
    return garden.finetunejob("bot")


def run_pod(garden: Garden, node: FakeNode, folder: Path, token: str) -> Ended:
    """Run what the publish pod runs, with what it is given, and end it as that ended."""
    node.wait_for_pod("bot-publish", BACKED_OFF_SECONDS)
    pod = node.run("bot-publish")
    (container,) = pod["spec"]["containers"]
    given = {one["name"]: one for one in container["env"]}
    assert given["MODELGARDEN_OUTPUT_HF_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == "hub"
    process = TrainerProcess(
        trainer_python(),
        folder / pod["metadata"]["name"],
        json.loads(given["MODELGARDEN_CONFIG"]["value"]),
        attempt=pod["metadata"]["uid"],
        variables={
            "MODELGARDEN_OUTPUT_HF_TOKEN": token,
            "AWS_ACCESS_KEY_ID": garden.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": garden.s3.secret_key,
            "NO_PROXY": "*",
        },
    )
    ended = process.run(*container["args"])
    node.end("bot-publish", exit_code=ended.exit_code, message=ended.message)
    return ended


def published(garden: Garden, want: str) -> Obj:
    def reached() -> Obj:
        job = garden.finetunejob("bot")
        assert reason(job, "Published") == want, job.get("status")
        return job

    return wait_for(reached, TOLD_SECONDS, what=f"Published for {want}")


def test_a_token_is_mended_and_the_artifact_is_published(
    garden: Garden, node: FakeNode, hub: WritableHub, tmp_path: Path
) -> None:
    give_token(garden, READS)
    job = registered(garden, node, hub)
    assert condition(job, "Complete")["status"] == "True"
    assert condition(job, "ArtifactRegistered")["status"] == "True"
    assert condition(job, "Published")["status"] == "False"

    denied = run_pod(garden, node, tmp_path, READS)

    job = published(garden, "AccessDenied")
    assert denied.message.reason == "AccessDenied"
    assert "secret 'hub'" in condition(job, "Published")["message"]
    assert (phase(job), job["status"]["artifact"]["version"]) == ("Complete", 1)
    assert hub.commits == []

    give_token(garden, WRITES)
    ended = run_pod(garden, node, tmp_path, WRITES)

    assert ended.exit_code == 0, ended.log
    job = published(garden, "Published")
    (commit,) = hub.commits
    assert job["status"]["hub"] == {"url": f"{hub.endpoint}/{REPOSITORY}", "commit": commit.oid}
    assert job["status"]["artifact"]["manifestSha256"] in commit.description
    weights = f"{Trainer.of(garden, job).folder.child(MERGED_DIR).key}/model.safetensors"
    stored = garden.objects.get_object(Bucket=garden.bucket, Key=weights)["Body"].read()
    assert hub.files(REPOSITORY)["model.safetensors"] == stored
    grams = job["status"]["carbon"]["emissionsMilligrams"] / 1000
    assert f'"emissions": {grams}' in hub.files(REPOSITORY)["README.md"].decode()
    events = [one for one in garden.api.list(EVENTS, garden.namespace) if one["regarding"]["name"] == "bot"]
    told = [(one["type"], one["reason"]) for one in events]
    assert ("Warning", "AccessDenied") in told
    assert ("Normal", "Published") in told
    everything = json.dumps([job, events, garden.api.list(JOBS, garden.namespace)]) + denied.log + ended.log
    assert READS not in everything
    assert WRITES not in everything
    stays(lambda: len(node.pods("bot-publish")) == 1, 2, what="nothing more to publish")


def test_a_secret_that_is_gone_is_waited_for_and_suspension_holds_the_pod(
    garden: Garden, node: FakeNode, hub: WritableHub
) -> None:
    give_token(garden, WRITES)
    registered(garden, node, hub)
    node.run("bot-publish")
    denied = TerminationMessage(reason="AccessDenied", message="The token was revoked.")
    node.end("bot-publish", exit_code=EXIT_USER_ERROR, message=denied)
    published(garden, "AccessDenied")
    garden.api.delete(SECRETS, garden.namespace, "hub")
    assert phase(published(garden, "SecretNotFound")) == "Complete"

    garden.api.merge(FINETUNEJOBS, garden.finetunejob("bot"), {"spec": {"suspend": True}})
    published(garden, "Suspended")
    wait_for(lambda: not node.pods("bot-publish"), what="the end of the pod")
    garden.api.merge(FINETUNEJOBS, garden.finetunejob("bot"), {"spec": {"suspend": False}})
    published(garden, "SecretNotFound")
    give_token(garden, WRITES)

    node.wait_for_pod("bot-publish", BACKED_OFF_SECONDS)
    garden.api.delete(FINETUNEJOBS, garden.namespace, "bot")
    wait_for(
        lambda: garden.api.get(JOBS, garden.namespace, "bot-publish") is None, what="the Job gone with it"
    )
