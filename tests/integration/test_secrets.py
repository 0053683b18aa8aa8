"""A secret whose value cannot be sent, through operator and pods: told by its key at once, and never by its value."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hack.cluster import S3Server
from modelgarden.api.pods import PodStorage, ServeConfig, TerminationMessage
from modelgarden.kube.resources import DEPLOYMENTS, EVENTS, JOBS, PODS, SECRETS
from tests.integration.harness.api import Obj, condition, reason
from tests.integration.harness.garden import SECRET, Garden
from tests.integration.harness.node import FakeNode
from tests.integration.harness.process import OperatorProcess
from tests.integration.harness.waiting import stays, wait_for
from tests.integration.serving_node import ServingNode
from tests.integration.trainer import Trainer
from tests.integration.trainer_process import TrainerProcess, make_config, trainer_python

ROOT = Path(__file__).parents[2]
FOUND_SECONDS = 10.0
MENDED_SECONDS = 10.0
POD_SECONDS = 3.0
CANARY = "Canary0Secret9Value"


@pytest.fixture
def serving(garden: Garden) -> ServingNode:
    """Who plays the nodes of serving pods."""
    return ServingNode(garden.api, garden.namespace)


def spoil(garden: Garden, name: str, keys: dict[str, str]) -> None:
    """Replace a secret by one with these keys."""
    garden.api.delete(SECRETS, garden.namespace, name)
    metadata = {"name": name, "namespace": garden.namespace}
    garden.api.create(SECRETS, {"metadata": metadata, "type": "Opaque", "stringData": keys})


def good(s3: S3Server) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}


def refused(obj: Obj, key: str) -> bool:
    """Tell whether a resource is refused for this key of a secret."""
    accepted = condition(obj, "Accepted")
    assert (accepted.get("status"), reason(obj, "Accepted")) == ("False", "SecretInvalid"), obj.get("status")
    return f"Key {key} of secret" in accepted["message"] and "ends with a line break" in accepted["message"]


def everything_told(garden: Garden, operator: OperatorProcess) -> str:
    """Return what anybody can read of a namespace's resources."""
    told = [garden.finetunejob("bot"), garden.modeldeployment("bot")]
    for resource in (EVENTS, JOBS, DEPLOYMENTS, PODS):
        told += garden.api.list(resource, garden.namespace)
    return json.dumps(told) + operator.log.read_text(errors="replace")


@pytest.mark.parametrize(
    ("key", "ending"),
    [
        ("AWS_ACCESS_KEY_ID", "\n"), ("AWS_ACCESS_KEY_ID", "\r\n"), ("AWS_SECRET_ACCESS_KEY", "\n"),
        ("AWS_SESSION_TOKEN", "\n"),
    ],
    ids=["access key", "access key, CRLF", "secret key", "session token"],
)  # fmt: skip
def test_a_value_with_a_line_break_is_told_by_its_key_before_there_is_a_pod(
    key: str, ending: str, garden: Garden, s3: S3Server, node: FakeNode, operator: OperatorProcess
) -> None:
    spoil(garden, SECRET, {**good(s3), key: f"{CANARY}{ending}"})
    garden.create_finetunejob("bot")
    garden.create_modeldeployment("bot")

    wait_for(lambda: refused(garden.finetunejob("bot"), key), FOUND_SECONDS, what="a FineTuneJob's refusal")
    wait_for(
        lambda: refused(garden.modeldeployment("bot"), key), FOUND_SECONDS, what="a deployment's refusal"
    )

    said = condition(garden.finetunejob("bot"), "Accepted")["message"]
    assert ("printf %s" in said) == ending.endswith("\n")
    # The same words at every look.
    stays(lambda: condition(garden.finetunejob("bot"), "Accepted")["message"] == said, MENDED_SECONDS + 2)
    assert garden.api.list(PODS, garden.namespace) == []
    assert CANARY not in everything_told(garden, operator)
    spoil(garden, SECRET, good(s3))
    node.wait_for_pod("bot-prepare", MENDED_SECONDS + POD_SECONDS)


def test_a_hub_token_with_a_line_break_is_told_by_its_key(
    garden: Garden, node: FakeNode, operator: OperatorProcess
) -> None:
    spoil(garden, "hub", {"HF_TOKEN": f"{CANARY}\n"})
    garden.create_finetunejob("bot", model={"source": "hf://org/name", "tokenSecretRef": {"name": "hub"}})
    garden.create_modeldeployment("bot")

    wait_for(lambda: refused(garden.finetunejob("bot"), "HF_TOKEN"), FOUND_SECONDS, what="its refusal")

    assert CANARY not in everything_told(garden, operator)
    spoil(garden, "hub", {"HF_TOKEN": CANARY})
    node.wait_for_pod("bot-prepare", MENDED_SECONDS + POD_SECONDS)


def test_what_pods_say_with_a_secret_in_it_is_told_without(
    garden: Garden, s3: S3Server, node: FakeNode, serving: ServingNode, operator: OperatorProcess
) -> None:
    """Pods of an earlier image, or of somebody else's, that print what their libraries say."""
    quoted = f"Invalid header value b'AWS4-HMAC-SHA256 Credential={CANARY}\\n/x, Signature={s3.secret_key}'"
    garden.create_finetunejob("bot")
    job = wait_for(lambda: garden.finetunejob("bot"))
    node.run("bot-prepare")
    node.succeed("bot-prepare", Trainer.of(garden, job).prepare())
    node.run("bot-train")
    node.end("bot-train", exit_code=1, message=f"{quoted} and {s3.secret_key}")
    serving.healthy = lambda _: False
    serving.last_words = f"vLLM ended with exit code 1: {quoted} and {s3.secret_key}"
    garden.create_modeldeployment("bot")

    def told() -> bool:
        attempts = garden.finetunejob("bot")["status"].get("attempts", [])
        degraded = condition(garden.modeldeployment("bot"), "Degraded")
        return "***" in json.dumps(attempts) and "***" in degraded.get("message", "")

    serving.play_until(told, 30, what="what the pods said")

    wanted = [CANARY, s3.secret_key]
    pods = json.dumps(garden.api.list(PODS, garden.namespace))
    assert all(value in pods for value in wanted), "the pods did not say it"
    for resource in (EVENTS, JOBS, DEPLOYMENTS):
        text = json.dumps(garden.api.list(resource, garden.namespace))
        assert not any(value in text for value in wanted)
    owners = json.dumps([garden.finetunejob("bot"), garden.modeldeployment("bot")])
    assert not any(value in owners + operator.log.read_text(errors="replace") for value in wanted)


BAD = [
    ("AWS_ACCESS_KEY_ID", f"{CANARY}\n", "SecretInvalid"),
    ("AWS_SECRET_ACCESS_KEY", f"{CANARY}\r\n", "SecretInvalid"),
    ("AWS_ACCESS_KEY_ID", CANARY, "AccessDenied"),
    ("AWS_SECRET_ACCESS_KEY", CANARY, "AccessDenied"),
]
BAD_IDS = ["access key, line break", "secret key, CRLF", "unknown access key", "wrong secret key"]


@pytest.mark.parametrize(("key", "value", "want_reason"), BAD, ids=BAD_IDS)
def test_a_trainer_ends_with_the_key_and_without_its_value(
    key: str, value: str, want_reason: str, garden: Garden, s3: S3Server, tmp_path: Path
) -> None:
    config = make_config(
        run_uri=f"s3://{garden.bucket}/run",
        model=f"s3://{garden.bucket}/model",
        dataset=f"s3://{garden.bucket}/data.jsonl",
        storage={"endpoint": s3.endpoint, "region": s3.access.region},
    )
    keys = {**good(s3), key: value}

    ended = TrainerProcess(trainer_python(), tmp_path, config, attempt="a", variables=keys).run("prepare")

    assert (ended.exit_code, ended.message.reason) == (64, want_reason), ended.log
    assert want_reason != "SecretInvalid" or key in ended.message.message
    assert CANARY not in ended.log + ended.message.message


@pytest.mark.parametrize(("key", "value", "want_reason"), BAD, ids=BAD_IDS)
def test_a_server_ends_with_the_key_and_without_its_value(
    key: str, value: str, want_reason: str, garden: Garden, s3: S3Server, tmp_path: Path
) -> None:
    config = ServeConfig(
        model_uri=f"s3://{garden.bucket}/model",
        served_model_name="bot",
        model_dir=str(tmp_path / "model"),
        storage=PodStorage(endpoint=s3.endpoint, region=s3.access.region),
    )
    left = tmp_path / "termination-log"
    environment = {
        **os.environ, **good(s3), key: value,
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("operator", "images/pod", "images/serve")),
        "MODELGARDEN_TERMINATION_LOG": str(left),
        "MODELGARDEN_CONFIG": config.model_dump_json(by_alias=True, exclude_none=True),
    }  # fmt: skip

    ended = subprocess.run(
        [sys.executable, "-m", "modelgarden_serve", "fetch"],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    message = TerminationMessage.model_validate_json(left.read_text())
    assert (ended.returncode, message.reason) == (75, want_reason), ended.stderr
    assert want_reason != "SecretInvalid" or key in message.message
    assert CANARY not in ended.stdout + ended.stderr + message.message
