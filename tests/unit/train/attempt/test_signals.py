"""SIGTERM ends an attempt, even one whose library swallowed it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelgarden.api.pods import PodCarbon
from modelgarden_pod.energy import EnergyMeter
from modelgarden_pod.errors import Terminated
from modelgarden_pod.local import LocalFolder
from modelgarden_train.attempt.emissions import Attempts
from modelgarden_train.attempt.messages import Message
from modelgarden_train.attempt.progress import ProgressBoard
from modelgarden_train.attempt.reporting import Reporter
from modelgarden_train.attempt.run import Run
from modelgarden_train.attempt.signals import STACKS_SIGNAL, StopRequest
from modelgarden_train.attempt.supervisor import Supervisor
from tests.unit.train.builders import make_config, make_record


@pytest.fixture
def stop() -> Iterator[StopRequest]:
    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    yield StopRequest()
    for number, handler in before:
        signal.signal(number, handler)


class SilentWorker:
    """A worker that says nothing."""

    def listen(self, hear: Callable[[Message], None]) -> None:
        """Nothing will be said."""


def make_supervisor(folder: Path, stop: StopRequest) -> Supervisor:
    """Return the supervisor of an attempt at a run that was never prepared."""
    run = Run(config=make_config(), folder=LocalFolder(folder / "run"), workspace=folder, attempt="a")
    meter = EnergyMeter(PodCarbon(), attempt="a", gpus=0)
    board = ProgressBoard("a", emissions=lambda: make_record(1))
    attempts = Attempts(run.folder, attempt="a", meter=meter)
    worker: Any = SilentWorker()
    return Supervisor(run, worker=worker, stop=stop, board=board, attempts=attempts)


def test_sigterm_ends_what_runs(stop: StopRequest) -> None:
    with pytest.raises(Terminated):
        os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_is_only_noted_where_it_is_deferred(stop: StopRequest) -> None:
    with stop.deferred():
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Terminated):
        stop.check()


@pytest.mark.parametrize("part", ["supervisor", "worker"])
def test_sigterm_that_a_library_swallowed_ends_the_attempt_at_its_next_stage(
    part: str, stop: StopRequest, tmp_path: Path
) -> None:
    supervisor = make_supervisor(tmp_path, stop)
    told: Any = None
    reporter = Reporter(told, stop)
    with contextlib.suppress(BaseException):
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Terminated):
        supervisor.finish() if part == "supervisor" else reporter.stage("Training")


def test_the_time_since_sigterm_is_known(stop: StopRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("modelgarden_train.attempt.signals.time.monotonic", lambda: now)
    assert stop.seconds == 0

    with stop.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        now = 130.0
        os.kill(os.getpid(), signal.SIGTERM)

    assert stop.seconds == 30


def test_a_worker_is_asked_for_its_stacks_by_a_signal_that_no_library_takes() -> None:
    """LLVM, which Triton brings, handles these (llvm/lib/Support/Unix/Signals.inc)."""
    asked = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}
    fatal = {signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGSEGV}
    rarer = {signal.SIGQUIT, signal.SIGSYS, signal.SIGXCPU, signal.SIGXFSZ, signal.SIGPIPE}

    assert STACKS_SIGNAL not in asked | fatal | rarer
