"""The trainer with a base model of the Hugging Face hub: what it takes, what it records, and what refusals become."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from modelgarden.api.artifact import DatasetReport, Manifest
from tests.integration.harness.waiting import wait_for
from tests.integration.hub_server import Hub, Repository, serve_hub
from tests.integration.trainer_process import (
    START_SECONDS,
    TrainerProcess,
    make_config,
    make_rows,
    tiny_model,
    trainer_python,
    write_rows,
)

NAME = "garden/tiny"
MIB = 2**20
CANARIES = Path(__file__).with_name("hub_canaries.py")
NOT_WANTED = {
    "README.md": b"# Tiny",
    "pytorch_model.bin": b"a pickle",
    "modeling_tiny.py": b"raise SystemExit('code of a model ran')",
    "consolidated.safetensors": b"the same weights for Mistral's own software",
    "onnx/config.json": b"{}",
    "onnx/model.safetensors": b"weights for something else",
}


@pytest.fixture(scope="module")
def python() -> Path:
    return trainer_python()


@pytest.fixture(scope="module")
def model_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in tiny_model().iterdir()}


@pytest.fixture
def hub(model_files: dict[str, bytes]) -> Iterator[Hub]:
    with serve_hub() as served:
        served.repositories[NAME] = Repository()
        served.repositories[NAME].commit({**model_files, **NOT_WANTED})
        yield served


@dataclass
class Job:
    """A run whose base model comes from the hub."""

    python: Path
    root: Path
    endpoint: str

    def process(
        self, name: str = "prepare", *, variables: dict[str, str] | None = None, **fields: Any
    ) -> TrainerProcess:
        """Return a pod of the run; keywords replace fields of its configuration."""
        dataset = self.root / "rows.jsonl"
        write_rows(dataset, make_rows(60))
        config = make_config(
            run_uri=str(self.root / "run"), model=f"hf://{NAME}", dataset=dataset.as_uri(), **fields
        )
        # A proxy knows nothing of a hub on this machine.
        hub = {"HF_ENDPOINT": self.endpoint, "NO_PROXY": "*"}
        return TrainerProcess(
            self.python, self.root / name, config, attempt=name, variables=hub | (variables or {})
        )

    def snapshot(self, name: str, commit: str) -> Path:
        """Return the folder of the model's files in a pod."""
        cache = self.root / name / "workspace/huggingface/hub"
        return cache / f"models--{NAME.replace('/', '--')}/snapshots/{commit}"

    def report(self) -> DatasetReport:
        """Return what prepare left."""
        return DatasetReport.model_validate_json((self.root / "run/dataset/report.json").read_bytes())


@pytest.fixture
def job(python: Path, tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Job:
    for name in [name for name in os.environ if name.startswith("HF_")]:
        monkeypatch.delenv(name)  # the token or the cache of whoever runs the tests would hide a refusal
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    return Job(python, tmp_path, hub.endpoint)


def test_a_run_keeps_the_commit_that_its_branch_named_at_first(
    job: Job, hub: Hub, model_files: dict[str, bytes]
) -> None:
    """A gated model whose branch moves between prepare and train: the dataset was rendered for the one before."""
    repository = hub.repositories[NAME]
    repository.gated = True
    hub.tokens = hub.granted = {"hf_granted"}
    token = {"HF_TOKEN": "hf_granted"}
    first = repository.refs["main"]

    prepared = job.process("prepare", variables=token).run("prepare")

    assert prepared.exit_code == 0, prepared.log
    assert job.report().model_revision == first
    # Of the weights only the headers are asked for.
    asked = hub.requests(".safetensors")
    assert {one.headers.get("Range") for one in asked} == {"bytes=0-100000"}
    needs = job.report().needs
    assert needs is not None
    assert needs.parameters > 10_000

    repository.commit({**model_files, "config.json": b"{}"})
    trained = job.process("train", variables=token).run("train")

    assert trained.exit_code == 0, trained.log
    base = Manifest.model_validate_json((job.root / "run/manifest.json").read_bytes()).base_model
    assert (base.source, base.revision) == (f"hf://{NAME}", first)
    assert base.digest == digest_of(model_files)
    check_requests(hub, model_files)
    assert "hf_granted" not in prepared.log + trained.log


def check_requests(hub: Hub, model_files: dict[str, bytes]) -> None:
    """No code, no pickle, no other weights, no telemetry, and the token goes to nobody but the hub."""
    taken = {asked.path.partition("/resolve/")[2].partition("/")[2] for asked in hub.requests("/resolve/")}
    assert taken == set(model_files)
    for asked in hub.requests():
        assert asked.path.startswith((f"/api/models/{NAME}", f"/{NAME}/resolve/", "/cdn/"))
        assert asked.method in {"GET", "HEAD"}
        assert "torch" not in asked.headers["User-Agent"]
        assert asked.headers.get("Authorization") == (
            None if asked.path.startswith("/cdn/") else "Bearer hf_granted"
        )


def test_a_pinned_commit_comes_from_a_hub_that_fails_stalls_and_cuts(
    job: Job, hub: Hub, model_files: dict[str, bytes]
) -> None:
    repository = hub.repositories[NAME]
    large = bytes(range(256)) * (24 * MIB // 256)
    pinned = repository.commit({**model_files, "words.txt": large}, ref="v1")
    hub.unavailable = {f"/api/models/{NAME}/revision/": 2, "/tree/": 1, "/resolve/": 2}
    hub.stalled = {"/tree/": 1}
    hub.cuts = {"words.txt": [16 * MIB, 0], "tokenizer.json": [100]}

    imports = {"PYTHONPROFILEIMPORTTIME": "1"}
    ended = job.process(modelRevision=pinned, variables=imports).run("prepare")

    assert (ended.exit_code, ended.message.reason) == (0, "DatasetReady"), ended.log
    assert not any(hub.unavailable.values())
    assert not any(hub.stalled.values())
    assert not any(hub.cuts.values())
    snapshot = job.snapshot("prepare", pinned)
    assert (snapshot / "words.txt").read_bytes() == large
    assert (snapshot / "tokenizer.json").read_bytes() == model_files["tokenizer.json"]
    # What had arrived before the cut is not fetched again.
    assert [asked.headers["Range"] for asked in hub.requests("words.txt") if "Range" in asked.headers]
    assert job.report().model_revision == pinned
    assert re.search(r"\| +transformers$", ended.log, re.MULTILINE)
    assert not re.search(r"\| +torch$", ended.log, re.MULTILINE), "a tokenizer needs no PyTorch"


Change = Callable[[Hub], None]


def gate(hub: Hub) -> None:
    hub.repositories[NAME].gated = True
    hub.tokens = {"hf_known"}


def forbid(hub: Hub) -> None:
    hub.tokens = hub.forbidden = {"hf_known"}


def know(hub: Hub) -> None:
    hub.tokens = {"hf_known"}


def quantize(hub: Hub) -> None:
    repository = hub.repositories[NAME]
    files = repository.commits[repository.refs["main"]]
    settings = json.loads(files["config.json"]) | {"quantization_config": {"quant_method": "bitsandbytes"}}
    repository.commit({**files, "config.json": json.dumps(settings).encode()})


KNOWN = {"HF_TOKEN": "hf_known"}


@pytest.mark.parametrize(
    ("change", "variables", "fields", "want_reason", "want_text"),
    [
        pytest.param(
            know, {}, {"modelSource": "hf://garden/nothing"},
            "ModelNotFound", "hf://garden/nothing is not on the hub, or is private; correct model.source or set",
            id="an unknown model",
        ),
        pytest.param(
            know, KNOWN, {"modelSource": "hf://garden/nothing"},
            "ModelNotFound", "hf://garden/nothing is not on the hub",
            id="an unknown model, with a token",
        ),
        pytest.param(
            know, {}, {"modelSource": "hf://garden/no--name"},
            "ModelNotFound", "correct model.source",
            id="a name that no model can have",
        ),
        pytest.param(
            know, {}, {"modelRevision": "v9"},
            "ModelNotFound", "has no revision 'v9'; correct model.revision",
            id="an unknown revision",
        ),
        pytest.param(
            gate, {}, {},
            "AccessDenied", "is gated: accept its terms on the hub and set model.tokenSecretRef",
            id="a gated model",
        ),
        pytest.param(
            gate, KNOWN, {},
            "AccessDenied", "is gated: accept its terms on the hub",
            id="a gated model, with the token of somebody who has not accepted",
        ),
        pytest.param(
            know, {"HF_TOKEN": "hf_revoked"}, {},
            "AccessDenied", "correct the token in model.tokenSecretRef",
            id="a token that is wrong",
        ),
        pytest.param(
            forbid, KNOWN, {},
            "AccessDenied", "correct the token in model.tokenSecretRef",
            id="a token without the right to read",
        ),
        pytest.param(
            know, {"HF_HUB_OFFLINE": "1"}, {},
            "InvalidConfiguration", "unset HF_HUB_OFFLINE",
            id="a process that may not ask the hub",
        ),
        pytest.param(
            quantize, {}, {},
            "ModelInvalid", f"hf://{NAME} is quantized already (bitsandbytes); set model.source to the 16-bit model",
            id="a model that is quantized already",
        ),
    ],
)  # fmt: skip
def test_a_refusal_ends_prepare_at_once_and_says_what_to_do(
    change: Change,
    variables: dict[str, str],
    fields: dict[str, str],
    want_reason: str,
    want_text: str,
    job: Job,
    hub: Hub,
) -> None:
    change(hub)

    ended = job.process(variables=variables, **fields).run("prepare")

    assert (ended.exit_code, ended.message.reason) == (64, want_reason), ended.log
    assert want_text in ended.message.message
    assert not (job.root / "run/dataset/report.json").exists()


CANARY = "hf_Canary0Hub9Token"


@pytest.mark.parametrize(
    ("change", "tokens"),
    [(gate, {CANARY}), (know, set()), (lambda hub: hub.forbidden.add(CANARY), {CANARY})],
    ids=["gated", "revoked", "without the right to read"],
)
def test_no_refusal_of_the_hub_tells_the_token(change: Change, tokens: set[str], job: Job, hub: Hub) -> None:
    change(hub)
    hub.tokens, hub.quotes = tokens, True

    ended = job.process(variables={"HF_TOKEN": CANARY}).run("prepare")

    assert (ended.exit_code, ended.message.reason) == (64, "AccessDenied"), ended.log
    assert hub.requests()
    assert "Canary" not in ended.log + ended.message.message


def test_a_token_that_ends_in_a_line_break_is_sent_to_nobody(job: Job, hub: Hub) -> None:
    ended = job.process(variables={"HF_TOKEN": f"{CANARY}\n"}).run("prepare")

    assert (ended.exit_code, ended.message.reason) == (64, "SecretInvalid"), ended.log
    assert "HF_TOKEN, from the secret that the spec names, ends with a line break" in ended.message.message
    assert "Canary" not in ended.log + ended.message.message
    assert not hub.requests()


def test_no_error_of_the_hubs_client_tells_the_token(job: Job) -> None:
    pod = job.process(variables={"HF_TOKEN": CANARY})

    ended = subprocess.run(
        [job.python, CANARIES],
        env=pod.environment(),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=True,
    )

    tried = [line.split("\t")[0] for line in ended.stdout.splitlines()]
    assert {
        "GatedRepoError",
        "HfHubHTTPError",
        "LocalEntryNotFoundError",
        "ConnectError",
        "LocalProtocolError",
    } <= set(tried)
    assert ended.stdout.count('"reason":"AccessDenied"') >= 2
    assert "***" in ended.stdout
    assert "Canary" not in ended.stdout + ended.stderr


def test_a_disk_that_takes_no_more_is_no_outage_of_the_hub(
    job: Job, hub: Hub, model_files: dict[str, bytes], tmp_path: Path
) -> None:
    """A limit on the size of a file stands for a full disk."""
    hub.repositories[NAME].commit({**model_files, "words.txt": bytes(24 * MIB)})
    limited = tmp_path / "python"
    limited.write_text(f'#!/bin/sh\nulimit -f 8192\nexec {shlex.quote(str(job.python))} "$@"\n')
    limited.chmod(0o755)

    ended = replace(job, python=limited).process().run("prepare")

    assert (ended.exit_code, ended.message.reason) == (1, "PrepareFailed"), ended.log
    assert "File too large; free some on the node's disk" in ended.message.message


def refuse(hub: Hub) -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def stall(hub: Hub) -> str:
    hub.stalled = {"/": 10**6}
    return hub.endpoint


@pytest.mark.parametrize(
    ("endpoint", "want_text"),
    [
        pytest.param(
            lambda hub: "http://hub.invalid",
            r"cannot be fetched from hub\.invalid: ConnectError: ",
            id="no such host",
        ),
        pytest.param(
            refuse,
            r"cannot be fetched from 127\.0\.0\.1:[0-9]+: ConnectError: .*refused",
            id="nobody listens",
        ),
        pytest.param(stall, r"127\.0\.0\.1:[0-9]+ has not answered for 5 s", id="it never answers"),
    ],
)
def test_a_hub_out_of_reach_is_told_within_ten_seconds_while_prepare_waits(
    endpoint: Callable[[Hub], str], want_text: str, job: Job, hub: Hub
) -> None:
    process = replace(job, endpoint=endpoint(hub)).process()
    process.start("prepare")
    wait_for(lambda: process.report() is not None, START_SECONDS, what="prepare to answer")

    wait_for(lambda: outage(process) is not None, 10, what="the outage to be told")

    told = outage(process)
    assert told is not None
    assert told.startswith(f"hf://{NAME}")
    assert re.search(want_text, told), told
    process.send(signal.SIGTERM)
    assert process.wait(60).exit_code == 143


def outage(process: TrainerProcess) -> str | None:
    """Return what the pod says of its hub."""
    report = process.report()
    return report.outage if report else None


def test_waiting_for_a_hub_that_is_away_ends_with_sigterm(job: Job, hub: Hub) -> None:
    hub.unavailable = {"/": 10**6}
    process = job.process()

    process.start("prepare")
    wait_for(lambda: len(hub.requests()) >= 3, START_SECONDS, what="the trainer to ask again")
    process.send(signal.SIGTERM)
    ended = process.wait(60)

    assert (ended.exit_code, ended.message.reason) == (143, "Retrying"), ended.log


def digest_of(files: dict[str, bytes]) -> str:
    """Return the digest of the manifest over a model's files."""
    lines = sorted(f"{name}\0{hashlib.sha256(content).hexdigest()}\n" for name, content in files.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()
