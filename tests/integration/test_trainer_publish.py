"""The command publish against a server that speaks the hub's API, and what prepare finds out of a token before it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from modelgarden.api.artifact import FileEntry, RunIdentity
from modelgarden.api.finetunejob import BaseModelRecord
from modelgarden.api.layout import MANIFEST, MERGED_DIR
from modelgarden.api.names import EXIT_USER_ERROR
from tests.integration.harness.waiting import wait_for
from tests.integration.hub_server import Repository
from tests.integration.hub_writing import Account, WritableHub, serve_writable_hub
from tests.integration.trainer_process import (
    Ended,
    TrainerProcess,
    make_config,
    make_rows,
    tiny_model,
    trainer_python,
    write_rows,
)
from tests.unit.builders import DIGEST, make_emissions, make_manifest

REPOSITORY = "garden/assistant"
TOKEN = "hf_of_a_member_who_may_write"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model-00001-of-00002.safetensors": b"first" * 1000,
    "model-00002-of-00002.safetensors": b"second" * 1000,
    "tokenizer.json": b"{}",
}


@pytest.fixture
def hub() -> Iterator[WritableHub]:
    with serve_writable_hub() as served:
        served.open_account(TOKEN, Account("ada", orgs={"garden": "write"}))
        yield served


@dataclass
class Artifact:
    """A registered artifact on this machine, and the pods that publish it."""

    root: Path
    endpoint: str
    pods: int = field(default=0)
    digest: str = ""

    def leave(self, files: dict[str, bytes] = FILES, **manifest: Any) -> None:
        """Write files and manifest as a training does; one that stays from before is not of the artifact."""
        entries = []
        for name, content in files.items():
            path = self.root / MERGED_DIR / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            entries.append(FileEntry(path=f"{MERGED_DIR}/{name}", sha256=digest, bytes=len(content)))
        run = RunIdentity(namespace="team", name="bot", uid="run-1")
        body = make_manifest(run=run, files=tuple(entries), **manifest).model_dump_json(by_alias=True)
        (self.root / MANIFEST).write_text(body)
        self.digest = hashlib.sha256(body.encode()).hexdigest()

    def publish(self, *, token: str = TOKEN, version: int = 1, **hub: Any) -> Ended:
        """Run a pod that publishes; keywords are fields of output.hub."""
        return self.pod(token=token, version=version, **hub).run("publish")

    def pod(self, *, token: str = TOKEN, version: int = 1, **hub: Any) -> TrainerProcess:
        """Return a pod that could publish."""
        self.pods += 1
        config = {
            "run": {"namespace": "team", "name": "bot", "uid": "run-1"},
            "runUri": self.root.as_uri(),
            "modelName": "bot",
            "version": version,
            "manifestSha256": self.digest,
            "emissions": make_emissions({"first": 5000, "second": 7000}, reason="Completed").to_dict(),
            "hub": {"repository": REPOSITORY, "tokenSecretRef": {"name": "hub"}, "endpoint": self.endpoint}
            | hub,
        }
        return TrainerProcess(
            trainer_python(),
            self.root / f"pod-{self.pods}",
            config,
            attempt=f"pod-{self.pods}",
            variables={"MODELGARDEN_OUTPUT_HF_TOKEN": token, "HF_ENDPOINT": self.endpoint, "NO_PROXY": "*"},
        )


@pytest.fixture
def artifact(tmp_path: Path, hub: WritableHub, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    for name in [name for name in os.environ if name.startswith("HF_")]:
        monkeypatch.delenv(name)
    found = Artifact(tmp_path, hub.endpoint)
    found.leave()
    return found


def test_an_artifact_becomes_one_commit_and_doing_it_twice_is_none(
    artifact: Artifact, hub: WritableHub
) -> None:
    ended = artifact.publish()

    assert ended.exit_code == 0, ended.log
    (commit,) = hub.commits
    assert ended.message.hub is not None
    assert ended.message.hub.to_dict() == {"url": f"{hub.endpoint}/{REPOSITORY}", "commit": commit.oid}
    assert hub.repositories[REPOSITORY].private
    published = hub.files(REPOSITORY)
    assert {name: published[name] for name in FILES} == FILES
    assert set(published) == {*FILES, "README.md", ".gitattributes"}
    assert commit.summary == "Publish bot version 1"
    assert artifact.digest in commit.description

    again = artifact.publish()

    assert again.exit_code == 0, again.log
    assert again.message.hub == ended.message.hub
    assert len(hub.commits) == 1
    for one in (ended, again):
        assert TOKEN not in one.log + json.dumps(one.message.to_dict())


def test_the_card_is_one_that_the_hubs_own_library_reads(artifact: Artifact, hub: WritableHub) -> None:
    hub.repositories["org/base"] = Repository(card={"license": "other", "license_name": "llama3.2"})
    hub.repositories["org/base"].commit({"config.json": b"{}"})
    artifact.leave(base_model=BaseModelRecord(source="hf://org/base", revision="main", digest=DIGEST))

    assert artifact.publish().exit_code == 0

    card = artifact.root / "card.md"
    card.write_bytes(hub.files(REPOSITORY)["README.md"])
    read = json.loads(
        subprocess.run(
            [trainer_python(), "-c", _READ_CARD, card], check=True, capture_output=True, text=True
        ).stdout
    )
    assert read["license_name"] == "llama3.2"
    assert (read["base_model"], read["base_model_relation"]) == ("org/base", "finetune")
    assert read["model-index"][0]["results"][0]["metrics"][0]["value"] == 1.9
    grams = make_emissions({"first": 5000, "second": 7000}).emissions_milligrams
    assert grams is not None
    # Of all attempts, as the operator knows them, not only of those in the manifest.
    assert read["co2_eq_emissions"]["emissions"] == grams / 1000
    assert "s3://" not in card.read_text()


_READ_CARD = """
import json, sys
from huggingface_hub import ModelCard
card = ModelCard.load(sys.argv[1])
assert card.data.eval_results, "no results"
print(json.dumps(card.data.to_dict()))
"""


def test_a_new_version_leaves_no_weights_of_the_one_before_and_all_else(
    artifact: Artifact, hub: WritableHub
) -> None:
    assert artifact.publish().exit_code == 0
    repository = hub.repositories[REPOSITORY]
    repository.commit({**hub.files(REPOSITORY), "notes.md": b"mine", "onnx/model.bin": b"mine"})
    artifact.leave({"config.json": b"{}", "model.safetensors": b"third" * 1000})

    ended = artifact.publish(version=2)

    assert ended.exit_code == 0, ended.log
    assert set(hub.files(REPOSITORY)) == {
        "config.json", "model.safetensors", "tokenizer.json", "README.md", ".gitattributes", "notes.md", "onnx/model.bin",
    }  # fmt: skip
    assert hub.commits[-1].deleted == ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def test_another_format_is_published_as_what_it_is(artifact: Artifact, hub: WritableHub) -> None:
    files = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"low rank" * 1000}
    artifact.leave(files, formats={"Adapter": MERGED_DIR})

    ended = artifact.publish(format="Adapter", private=False)

    assert ended.exit_code == 0, ended.log
    assert not hub.repositories[REPOSITORY].private
    assert set(hub.files(REPOSITORY)) == {*files, "README.md", ".gitattributes"}
    assert 'library_name: "peft"' in hub.files(REPOSITORY)["README.md"].decode()
    missing = artifact.publish(format="GGUF")
    assert (missing.exit_code, missing.message.reason) == (EXIT_USER_ERROR, "InvalidConfiguration")


def test_a_hub_that_is_away_is_waited_for_and_what_it_has_is_not_sent_again(
    artifact: Artifact, hub: WritableHub
) -> None:
    """Away at first, which the pod tells whoever asks; then the commit itself fails after the large files were taken."""
    hub.unavailable = {"/api/repos/create": 1_000}
    pod = artifact.pod()
    pod.start("publish")

    def told() -> bool:
        report = pod.report()
        return report is not None and "503" in (report.outage or "")

    wait_for(told, 60, what="the outage to be told")
    hub.unavailable = {"/commit/main": 2}

    ended = pod.wait()

    assert ended.exit_code == 0, ended.log
    assert len(hub.commits) == 1
    sent = [one.path for one in hub.requests("/lfs/") if one.method == "PUT"]
    assert len(sent) == len(set(sent)) == 2
    assert "It does not answer, trying again" in ended.log
    assert "canary" not in ended.log  # the signature of the place that large files go to


def test_somebody_elses_commit_comes_first(artifact: Artifact, hub: WritableHub) -> None:
    """What was listed before is not so any more: it is listed again."""
    assert artifact.publish().exit_code == 0
    hub.races = 1
    artifact.leave({"config.json": b"{}", "model.safetensors": b"third" * 1000})

    ended = artifact.publish(version=2)

    assert ended.exit_code == 0, ended.log
    assert "from-somebody-else.txt" in hub.files(REPOSITORY)
    assert hub.files(REPOSITORY)["model.safetensors"] == b"third" * 1000


@dataclass(frozen=True)
class Refusal:
    """A hub that does not take the artifact, and what is said."""

    reason: str
    words: str
    token: str = TOKEN
    account: Account | None = None
    public: bool = False
    ignored: str = ""
    damaged: bool = False


REFUSALS = {
    "a token that the hub does not know": Refusal(
        "AccessDenied", "make a token that may write to garden/", token="hf_of_nobody_whom_it_knows"
    ),
    "a token that only reads": Refusal(
        "AccessDenied", "403", account=Account("ada", orgs={"garden": "write"}, role="read")
    ),
    "a repository of somebody else": Refusal("AccessDenied", "403", account=Account("eve")),
    "no token": Refusal("SecretInvalid", "lacks HF_TOKEN", token=""),
    "a token with a line break": Refusal("SecretInvalid", "line break", token=f"{TOKEN}\n"),
    "a repository that everybody sees": Refusal("AccessDenied", "is public", public=True),
    "a repository that leaves a file out": Refusal("PublishFailed", ".gitignore", ignored="tokenizer.json"),
    "files that are not what was registered": Refusal("ArtifactInvalid", "recorded is", damaged=True),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_published_is_told_with_what_to_do(
    artifact: Artifact, hub: WritableHub, refusal: Refusal
) -> None:
    hub.quotes = True
    if refusal.account is not None:
        hub.open_account(refusal.token, refusal.account)
    if refusal.public:
        hub.repositories[REPOSITORY] = Repository()
        hub.repositories[REPOSITORY].commit({"README.md": b"hello"})
    if refusal.damaged:
        (artifact.root / MERGED_DIR / "config.json").write_bytes(b"another")
    hub.ignored = {refusal.ignored}

    ended = artifact.publish(token=refusal.token)

    assert (ended.exit_code, ended.message.reason) == (EXIT_USER_ERROR, refusal.reason), ended.log
    assert refusal.words in ended.message.message
    if refusal.token:
        assert refusal.token.strip() not in ended.log + ended.message.message
    if refusal.public:
        assert set(hub.files(REPOSITORY)) == {"README.md"}


def scoped(kind: str, name: str, *permissions: str) -> dict[str, object]:
    return {"entity": {"type": kind, "name": name}, "permissions": list(permissions)}


ACCOUNTS = {
    "may write": (Account("ada", orgs={"garden": "write"}), None),
    "may write, fine-grained": (
        Account(
            "ada",
            role="fineGrained",
            orgs={"garden": "write"},
            scoped=(scoped("org", "garden", "repo.write"),),
        ),
        None,
    ),
    "only reads": (Account("ada", role="read", orgs={"garden": "write"}), "only reads"),
    "is of no member": (Account("ada"), "no member of garden"),
    "reads, fine-grained": (
        Account(
            "ada",
            role="fineGrained",
            orgs={"garden": "write"},
            scoped=(scoped("org", "garden", "repo.read"),),
        ),
        "give it write access",
    ),
    "says that it may and may not": (Account("ada", orgs={"garden": "write"}, writes=False), "403"),
    "is not known": (None, "401"),
}


@pytest.mark.parametrize(("account", "words"), ACCOUNTS.values(), ids=ACCOUNTS)
def test_prepare_knows_a_token_that_may_not_publish_and_leaves_nothing_on_the_hub(
    tmp_path: Path, hub: WritableHub, account: Account | None, words: str | None
) -> None:
    token = "hf_that_prepare_asks_about"
    if account is not None:
        hub.open_account(token, account)
    hub.repositories[REPOSITORY] = Repository(private=True)
    hub.repositories[REPOSITORY].commit({"README.md": b"hello"})

    ended = prepared(tmp_path, hub, token)

    assert hub.commits == []
    assert set(hub.repositories) == {REPOSITORY}
    assert not hub.requests("/api/repos/create")
    if words is None:
        assert ended.exit_code == 0, ended.log
        return
    assert (ended.exit_code, ended.message.reason) == (EXIT_USER_ERROR, "AccessDenied"), ended.log
    assert words in ended.message.message
    assert "secret 'hub'" in ended.message.message
    assert token not in ended.log + ended.message.message


def test_prepare_knows_a_repository_that_everybody_sees(tmp_path: Path, hub: WritableHub) -> None:
    hub.repositories[REPOSITORY] = Repository()
    hub.repositories[REPOSITORY].commit({"README.md": b"hello"})

    ended = prepared(tmp_path, hub, TOKEN)

    assert (ended.exit_code, ended.message.reason) == (EXIT_USER_ERROR, "AccessDenied"), ended.log
    assert "make it private on the hub" in ended.message.message


def test_prepare_goes_on_without_an_answer_of_the_hub(tmp_path: Path, hub: WritableHub) -> None:
    hub.unavailable = {"/api/whoami-v2": 1_000}

    ended = prepared(tmp_path, hub, TOKEN)

    assert ended.exit_code == 0, ended.log
    assert "Whether the hub takes the artifact is not known" in ended.log


def prepared(folder: Path, hub: WritableHub, token: str) -> Ended:
    """Run a pod that prepares rows of a job whose artifact will be published; its model lies on this machine."""
    dataset = folder / "rows.jsonl"
    write_rows(dataset, make_rows(20))
    destination = {"repository": REPOSITORY, "tokenSecretRef": {"name": "hub"}, "endpoint": hub.endpoint}
    config = make_config(
        run_uri=str(folder / "run"), model=str(tiny_model()), dataset=dataset.as_uri(), hub=destination
    )
    variables = {"MODELGARDEN_OUTPUT_HF_TOKEN": token, "NO_PROXY": "*"}
    process = TrainerProcess(trainer_python(), folder / "pod", config, attempt="pod", variables=variables)
    return process.run("prepare")
