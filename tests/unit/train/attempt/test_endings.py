"""What a worker's end without a word is taken for."""

from __future__ import annotations

import signal

import pytest

from modelgarden_pod.errors import PodError, Terminated
from modelgarden_train.attempt.endings import Ending, early_end


@pytest.mark.parametrize(
    ("ending", "want_reason", "want_text"),
    [
        pytest.param(
            Ending(exit_code=-signal.SIGKILL, oom_kills=1, memory_limit=3 * 2**30),
            "OutOfMemory",
            "killed for want of memory (the limit is 3.0 GiB); raise resources.memory",
            id="the kernel counts a kill for want of memory",
        ),
        pytest.param(
            Ending(exit_code=-signal.SIGKILL),
            "OutOfMemory",
            "killed by SIGKILL, as a rule for want of memory; raise resources.memory",
            id="the kernel does not say",
        ),
        pytest.param(
            Ending(exit_code=-signal.SIGKILL, oom_kills=0),
            "TrainingFailed",
            "was ended by SIGKILL, and not for want of the container's memory",
            id="somebody else killed it",
        ),
        pytest.param(
            Ending(exit_code=-signal.SIGSEGV, oom_kills=0),
            "TrainingFailed",
            "was ended by SIGSEGV; its log",
            id="a library crashed",
        ),
        pytest.param(
            Ending(exit_code=-signal.SIGTERM),
            "TrainingFailed",
            "was ended by SIGTERM",
            id="nobody asked it to",
        ),
        pytest.param(
            Ending(exit_code=3), "TrainingFailed", "ended with exit code 3", id="an exit of its own"
        ),
        pytest.param(Ending(exit_code=None), "TrainingFailed", "fell silent", id="it does not even end"),
        pytest.param(
            Ending(exit_code=-signal.SIGKILL, asked=True, oom_kills=2),
            "OutOfMemory",
            "killed for want of memory",
            id="want of memory while it was to end",
        ),
    ],
)
def test_the_end_is_named(ending: Ending, want_reason: str, want_text: str) -> None:
    error = early_end(ending)

    assert isinstance(error, PodError)
    assert (error.reason, error.exit_code) == (want_reason, 1)
    assert want_text in error.message


@pytest.mark.parametrize("code", [-signal.SIGTERM, 1, None])
def test_a_worker_that_was_asked_to_end_and_did_was_stopped(code: int | None) -> None:
    error = early_end(Ending(exit_code=code, asked=True))

    assert isinstance(error, Terminated)
    assert error.message.startswith("stopped by SIGTERM; the training process ")
