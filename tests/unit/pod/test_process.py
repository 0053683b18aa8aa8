"""How commands end: the exit code for the Job and the message for the operator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelgarden.api.pods import TerminationMessage
from modelgarden_pod.errors import ObjectNotFound, PodError, TemporaryError, Terminated, UserError
from modelgarden_pod.process import TERMINATION_LOG_VARIABLE, run_command

DONE = TerminationMessage(reason="Succeeded", message="fine")


def raising(error: BaseException) -> Callable[[], TerminationMessage]:
    def command() -> TerminationMessage:
        raise error

    return command


@pytest.mark.parametrize(
    ("command", "want_code", "want_reason"),
    [
        (lambda: DONE, 0, "Succeeded"),
        (raising(UserError("DatasetInvalid", "line 1")), 64, "DatasetInvalid"),
        (raising(ObjectNotFound("s3://a/b")), 64, "InvalidConfiguration"),
        (raising(TemporaryError("away")), 75, "StorageUnavailable"),
        (raising(Terminated("stopped")), 143, "Retrying"),
        (raising(PodError("TrainingFailed", "no CUDA")), 1, "TrainingFailed"),
        (raising(KeyError("x")), 1, "PrepareFailed"),
    ],
)
def test_every_end_has_its_exit_code_and_reason(
    command: Callable[[], TerminationMessage],
    want_code: int,
    want_reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(TERMINATION_LOG_VARIABLE, str(tmp_path / "log"))

    assert run_command(command, failure_reason="PrepareFailed") == want_code

    left = TerminationMessage.model_validate_json((tmp_path / "log").read_text())
    assert left.reason == want_reason


def test_a_long_message_is_shortened_to_what_the_kubelet_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TERMINATION_LOG_VARIABLE, str(tmp_path / "log"))

    run_command(raising(UserError("DatasetInvalid", "wrong " * 2000)), failure_reason="PrepareFailed")

    text = (tmp_path / "log").read_text()
    assert len(text.encode()) <= 4096
    assert TerminationMessage.model_validate_json(text).reason == "DatasetInvalid"
