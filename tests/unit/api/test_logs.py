"""No value of a secret is in a log line: not in its message, its fields or its traceback, nor in what nobody catches."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from modelgarden.api.logs import RedactingFilter, log_uncaught
from modelgarden.api.redaction import keep_secret
from modelgarden.runtime import logs as operator_logs
from modelgarden_pod import logs as pod_logs

CANARY = "canary-in-the-logs-1"
OPERATOR = [lambda: operator_logs.formatter("json"), lambda: operator_logs.formatter("text")]
POD = [pod_logs.JsonFormatter, lambda: pod_logs.TextFormatter("%(message)s")]


@pytest.fixture(params=[*OPERATOR, *POD], ids=["operator json", "operator text", "pod json", "pod text"])
def written(request: pytest.FixtureRequest) -> Iterator[tuple[logging.Logger, io.StringIO]]:
    keep_secret(CANARY)
    make: Callable[[], logging.Formatter] = request.param
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(make())
    handler.addFilter(RedactingFilter())
    logger = logging.getLogger(f"{__name__}.{request.node.name}")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)
    yield logger, stream
    logger.removeHandler(handler)


def test_a_message_and_its_fields_are_redacted(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = written
    logger.info(
        "Asked %s", CANARY, extra={"error": ValueError(CANARY), "command": ["vllm", f"--key={CANARY}"]}
    )

    assert "Asked ***" in stream.getvalue()
    assert CANARY not in stream.getvalue()


def test_a_traceback_is_redacted_with_its_causes(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = written
    try:
        try:
            raise ValueError(f"Invalid header value b'Credential={CANARY}/x'")
        except ValueError as cause:
            raise RuntimeError("it failed") from cause
    except RuntimeError:
        logger.exception("Failed")

    assert "RuntimeError: it failed" in stream.getvalue()
    assert "ValueError: Invalid header value" in stream.getvalue()
    assert CANARY not in stream.getvalue()


def test_numbers_stay_numbers(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = written
    logger.info("Waiting", extra={"delaySeconds": 1.5})

    if stream.getvalue().startswith("{"):
        assert json.loads(stream.getvalue())["delaySeconds"] == 1.5
    else:
        assert "Waiting" in stream.getvalue()


def test_a_mistake_in_a_log_call_ends_nothing(written: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = written
    logger.info("Two %s of %s", "one")

    assert "Two %s of %s" in stream.getvalue()


def test_what_nobody_catches_is_logged_in_any_thread(
    written: tuple[logging.Logger, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger, stream = written
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    log_uncaught(logger)

    def fail() -> None:
        raise ValueError(f"in a thread: {CANARY}")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    error = RuntimeError(f"in the main one: {CANARY}")
    sys.excepthook(RuntimeError, error, None)

    assert "in a thread: ***" in stream.getvalue()
    assert "in the main one: ***" in stream.getvalue()
    assert CANARY not in stream.getvalue()
