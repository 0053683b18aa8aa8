"""Canaries in the place of every credential, through every error of S3 and of vLLM: they are in nothing that people read.

The hub's errors have the trainer's environment: tests/integration/test_trainer_hub.py sends canaries through those.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import logging
import socket
import ssl
import string
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

import boto3.exceptions
import botocore.exceptions
import pytest
import s3transfer.exceptions
import urllib3.exceptions
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from modelgarden.api import redaction
from modelgarden.api.logs import RedactingFilter
from modelgarden.api.pods import ServeConfig, TerminationMessage
from modelgarden.api.redaction import KnownSecrets
from modelgarden.api.s3.codes import answered
from modelgarden.api.s3.failures import failure_of
from modelgarden.api.storage.failures import Kind
from modelgarden.controller.conditions import Finding, conditions
from modelgarden.controller.events import post
from modelgarden.controller.plan import Event
from modelgarden.kube.client import error_of
from modelgarden.kube.resources import FINETUNEJOBS, Key
from modelgarden.registry.errors import StorageError, storage_error
from modelgarden.registry.secrets import credentials_of, required_value
from modelgarden.runtime import logs as operator_logs
from modelgarden.runtime.metrics import Metrics
from modelgarden.runtime.queue import WorkQueue
from modelgarden.runtime.workers import work
from modelgarden_pod import logs as pod_logs
from modelgarden_pod.errors import PodError, TemporaryError
from modelgarden_pod.process import TERMINATION_LOG_VARIABLE, run_command
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage_errors import Asked, pod_error
from modelgarden_serve.draining import Drain
from modelgarden_serve.engine import failure_of as last_words
from modelgarden_serve.ledger import Ledger
from modelgarden_serve.supervise import Supervisor
from modelgarden_serve.vllm_api import VllmApi
from tests.unit.registry.test_credentials import secret
from tests.unit.serve.test_ledger import Meter

CANARIES = {
    "AWS_ACCESS_KEY_ID": "Canary0AccessKey",
    "AWS_SECRET_ACCESS_KEY": "Canary1/Secret+Key/9x==",
    "AWS_SESSION_TOKEN": "Canary2SessionToken//8y==",
    "HF_TOKEN": "hf_Canary3HubToken",
}
SAID = (
    f"b'AWS4-HMAC-SHA256 Credential={CANARIES['AWS_ACCESS_KEY_ID']}\\n/20261126/us-east-1/s3/aws4_request, "
    f"Signature=Canary4abc' with {CANARIES['AWS_SECRET_ACCESS_KEY']} (?t={quote(CANARIES['AWS_SESSION_TOKEN'], safe='')})"
    f" at http://me:Canary5Pass@s3:9000, {{'Authorization': 'Bearer {CANARIES['HF_TOKEN']}'}}"
)
"""What a library might say."""
OWNER = {
    "apiVersion": "modelgarden.dev/v1alpha1", "kind": "FineTuneJob",
    "metadata": {"namespace": "team", "name": "job", "uid": "1", "resourceVersion": "1"},
}  # fmt: skip


def assert_no_canary(*told: str) -> None:
    for text in told:
        assert "Canary" not in text, text


@pytest.fixture(autouse=True)
def _in_the_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the canaries in the environment; secrets and logging of the process are as they were before, afterwards."""
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    root = logging.getLogger()
    level = root.level
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    yield
    know_nothing()
    logging.captureWarnings(capture=False)
    for handler in [one for one in root.handlers if any(isinstance(f, RedactingFilter) for f in one.filters)]:
        root.removeHandler(handler)
    root.setLevel(level)


def know_nothing() -> None:
    pytest.MonkeyPatch().setattr(redaction, "_known", KnownSecrets())
    redaction._redacted_before.cache_clear()


def operator_starts() -> None:
    """Know what an operator knows that has read the secrets of a FineTuneJob, with no variable of its own."""
    know_nothing()
    keys = secret(**CANARIES)
    credentials_of(keys)
    required_value(keys, "HF_TOKEN")
    with pytest.MonkeyPatch.context() as patch:
        for name in CANARIES:
            patch.delenv(name)
        operator_logs.configure(log_format="json", level="DEBUG")


def pod_starts() -> None:
    """Know what a pod knows from its environment."""
    know_nothing()
    pod_logs.configure_logs()


Read = Callable[[], str]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Read:
    """Return what was written to standard error."""
    return lambda: capsys.readouterr().err


def classes_of(module: ModuleType, base: type[Exception]) -> list[type[Exception]]:
    found = inspect.getmembers(module, lambda one: inspect.isclass(one) and issubclass(one, base))
    return [kind for _, kind in found]


def of_botocore(kind: type[Exception]) -> Exception:
    """Return an error of botocore with canaries wherever its text takes something."""
    if issubclass(kind, ClientError):
        return ClientError({"Error": {"Code": "Teapot", "Message": SAID}}, "GetObject")
    fields = [name for _, name, _, _ in string.Formatter().parse(getattr(kind, "fmt", "")) if name]
    wanted = inspect.signature(kind).parameters.values()
    fields += [
        one.name for one in wanted if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD
    ]
    error = kind(**dict.fromkeys(fields, SAID))
    error.__cause__ = ValueError(f"Invalid header value {SAID}")
    return error


def unreached(kind: type[BotoCoreError], cause: Exception) -> Exception:
    """Return an error of botocore that came from one of the network."""
    error = of_botocore(kind)
    error.__cause__ = cause
    return error


def of_text(kind: type[Exception]) -> Exception:
    """Return an error that is made of text, whatever else its constructor wants."""
    error = kind.__new__(kind, SAID)
    Exception.__init__(error, SAID)
    vars(error).update(partial=0, expected=0, length=SAID)
    return error


ERRORS: list[Exception] = [
    *[of_botocore(kind) for kind in classes_of(botocore.exceptions, BotoCoreError)],
    *[of_text(kind) for kind in classes_of(boto3.exceptions, boto3.exceptions.Boto3Error)],
    *[of_text(kind) for kind in classes_of(s3transfer.exceptions, Exception)],
    *[of_text(kind) for kind in classes_of(urllib3.exceptions, urllib3.exceptions.HTTPError)],
    ResponseParserError(f"Unable to parse response, invalid XML received:\n{SAID}"),
    unreached(botocore.exceptions.EndpointConnectionError, socket.gaierror(socket.EAI_NONAME, SAID)),
    unreached(
        botocore.exceptions.SSLError,
        ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] {SAID}"),
    ),
    ConnectionResetError(104, SAID),
    TimeoutError(SAID),
    of_botocore(ClientError),
]


def name_of(error: Exception) -> str:
    return f"{type(error).__module__}.{type(error).__name__}"


def operator_says(error: StorageError, written: Read) -> list[str]:
    """Return everything that the operator tells of an error: condition, event, log."""
    problem = error.problem
    (condition,) = conditions(
        (), [Finding.against("Accepted", problem)], order=["Accepted"], generation=1, now=datetime.now(UTC)
    )
    notes: list[str] = []

    class Kube:
        async def create(self, body: dict[str, Any]) -> None:
            notes.append(json.dumps(body))

    event = Event("Warning", problem.reason, problem.message)
    asyncio.run(post(Kube(), OWNER, event, datetime.now(UTC)))  # type: ignore[arg-type]
    log = logging.getLogger("modelgarden.test")
    log.error("Reconcile failed", exc_info=error)
    log.warning("Trying again: %s", error)
    logged = written()
    assert "Reconcile failed" in logged
    return [str(error), error.message, condition.message, *notes, logged]


def pod_says(error: Exception, written: Read, folder: Path) -> list[str]:
    """Return everything that a pod tells of an error: termination message, log, what it waits for."""
    patience = Patience(total=0)

    def command() -> TerminationMessage:
        def fail() -> TerminationMessage:
            raise error

        return patience.retry("it", fail)

    run_command(command, failure_reason="TrainingFailed")
    left = (folder / "log").read_text()
    assert "reason" in left
    logged = written()
    assert "traceback" in logged or "Ended early" in logged
    return [left, logged, patience.outage.message or ""]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(TERMINATION_LOG_VARIABLE, str(tmp_path / "log"))
    return tmp_path


def test_the_canaries_would_be_found() -> None:
    assert sum("Canary" in str(error) for error in ERRORS) > 50
    with pytest.raises(AssertionError):
        assert_no_canary(SAID)


@pytest.mark.parametrize("error", ERRORS, ids=name_of)
def test_no_error_of_s3s_libraries_tells_a_credential(error: Exception, written: Read, folder: Path) -> None:
    operator_starts()
    failure = failure_of(error)
    if failure is not None:
        told = storage_error(failure, action="GET", target="s3://b/k", endpoint="http://s3:9000")
        told.__cause__ = error
        assert_no_canary(*operator_says(told, written))
    pod_starts()
    failure = failure_of(error)
    ended = error  # one that a request to S3 does not raise ends a pod as a bug does
    if failure is not None:
        ended = pod_error(failure, Asked("s3:GetObject", "s3://b/k", bucket="b", endpoint="http://s3:9000"))
        ended.__cause__ = error
    assert_no_canary(*pod_says(ended, written, folder))


CODES = {
    Kind.DENIED: ("InvalidAccessKeyId", 403), Kind.PASSING: ("SlowDown", 503), Kind.CLOCK: ("RequestTimeTooSkewed", 403),
    Kind.FULL: ("QuotaExceeded", 403), Kind.ARCHIVED: ("InvalidObjectState", 403), Kind.NO_BUCKET: ("NoSuchBucket", 404),
    Kind.REGION: ("PermanentRedirect", 301), Kind.NOT_FOUND: ("NoSuchKey", 404), Kind.STRANGER: ("", 404),
    Kind.PRECONDITION: ("PreconditionFailed", 412), Kind.UNSUPPORTED: ("NotImplemented", 501), Kind.REFUSED: ("Teapot", 418),
}  # fmt: skip


@pytest.mark.parametrize(("code", "status"), CODES.values(), ids=CODES)
def test_no_answer_of_s3_tells_a_credential(code: str, status: int, written: Read, folder: Path) -> None:
    """A service may quote what it was sent: SignatureDoesNotMatch of S3 itself does."""
    answer: Any = {
        "Error": {"Code": code, "Message": SAID, "StringToSign": SAID, "AWSAccessKeyId": SAID},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    cause = ClientError(answer, "GetObject")
    endpoint = "http://me:Canary5Pass@s3:9000"
    operator_starts()
    failure = failure_of(cause)
    assert failure is not None
    told = storage_error(failure, action="GET", target="s3://b/k", endpoint=endpoint)
    told.__cause__ = cause
    assert_no_canary(*operator_says(told, written))
    pod_starts()
    failure = failure_of(cause)
    assert failure is not None
    ended = pod_error(failure, Asked("s3:GetObject", "s3://b/k", bucket="b", endpoint=endpoint))
    ended.__cause__ = cause
    assert_no_canary(*pod_says(ended, written, folder))


@pytest.mark.parametrize(
    "make",
    [
        lambda: TemporaryError(f"hf://team/model: {SAID}"),
        lambda: PodError("TrainingFailed", SAID),
        lambda: RuntimeError(SAID),
        lambda: OSError(5, SAID),
        lambda: ExceptionGroup(SAID, [ValueError(SAID)]),
    ],
    ids=["of the hub", "of the pod", "unexpected", "of the disk", "of a group"],
)
def test_nothing_else_that_ends_a_pod_tells_a_credential(
    make: Callable[[], Exception], written: Read, folder: Path
) -> None:
    pod_starts()

    assert_no_canary(*pod_says(make(), written, folder))


@pytest.mark.parametrize("status", [401, 403, 404, 409, 422, 500, 503])
@pytest.mark.parametrize(
    "body", [json.dumps({"message": SAID}).encode(), SAID.encode()], ids=["a status", "text"]
)
def test_no_answer_of_the_api_server_tells_a_credential(status: int, body: bytes) -> None:
    operator_starts()

    error = error_of("apply", status, body, None)

    assert_no_canary(str(error), error.message)


async def test_an_unexpected_error_of_a_reconcile_tells_none_in_the_log(written: Read) -> None:
    told = asyncio.Event()

    class Reconciler:
        async def reconcile(self, key: Key) -> float | None:
            asyncio.get_running_loop().call_soon(told.set)
            raise KeyError(SAID)

    operator_starts()
    queue = WorkQueue()
    worker = asyncio.create_task(work(queue, {FINETUNEJOBS: Reconciler()}, Metrics()))
    queue.add(Key(FINETUNEJOBS, "team", "job"))
    async with asyncio.timeout(5):
        await told.wait()
    worker.cancel()
    await asyncio.wait({worker})

    logged = written()
    assert "Reconcile failed" in logged
    assert "KeyError" in logged
    assert_no_canary(logged)


ENGINE = [
    f"(EngineCore pid=42) ERROR 11-21 07:00:00 [core.py:1] ValueError: cannot load with {SAID}",
    f"huggingface_hub.errors.HfHubHTTPError: 401 {SAID}",
    f"non-default args: {{'api_key': ['{CANARIES['HF_TOKEN']}']}}",
    f"AWS_SECRET_ACCESS_KEY={CANARIES['AWS_SECRET_ACCESS_KEY']}",
]


@pytest.mark.parametrize("line", ENGINE)
@pytest.mark.parametrize("exit_code", [1, 2, -9])
def test_no_line_of_vllm_tells_a_credential(line: str, exit_code: int, folder: Path, written: Read) -> None:
    pod_starts()
    config = ServeConfig(model_uri="file:///model", served_model_name="bot", model_dir="/model")
    api = VllmApi()
    ledger = Ledger(Meter(), api.tokens, attempt="pod", file=folder / "carbon.json")
    supervisor = Supervisor(config, api=api, ledger=ledger, drain=Drain(folder / "drain"))

    supervisor._forward(io.BytesIO(f"starting\n{line}\n".encode()))
    ended = supervisor._failure(exit_code)
    forwarded = written()

    assert forwarded.startswith("starting\n")
    assert_no_canary(forwarded, ended.message, last_words(list(supervisor._output)))
    assert_no_canary(*pod_says(ended, written, folder))


def test_every_kind_of_answer_is_tried() -> None:
    assert {answered(code, status).kind for code, status in CODES.values()} == set(CODES)
    without_an_answer = {Kind.NO_CREDENTIALS, Kind.BAD_CREDENTIALS, Kind.NAME, Kind.NO_HOST, Kind.UNTRUSTED}
    assert set(CODES) | without_an_answer == set(Kind)
    assert without_an_answer <= {failure.kind for error in ERRORS if (failure := failure_of(error))}
