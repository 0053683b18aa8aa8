"""SIGTERM ends an attempt, even one whose library swallowed it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelgarden.api.pods import PodCarbon
from modelgarden_pod.energy import EnergyMeter
from modelgarden_pod.errors import Terminated
from modelgarden_pod.local import LocalFolder
from modelgarden_train.attempt.emissions import Attempts
from modelgarden_train.attempt.progress import ProgressBoard
from modelgarden_train.attempt.run import Run
from modelgarden_train.attempt.signals import StopRequest
from modelgarden_train.commands.train import TrainingAttempt
from tests.unit.train.builders import make_config, make_record


@pytest.fixture
def stop() -> Iterator[StopRequest]:
    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    yield StopRequest()
    for number, handler in before:
        signal.signal(number, handler)


def make_attempt(folder: Path, stop: StopRequest) -> TrainingAttempt:
    """Return an attempt at a run that was never prepared."""
    run = Run(config=make_config(), folder=LocalFolder(folder / "run"), workspace=folder, attempt="a")
    meter = EnergyMeter(PodCarbon(), attempt="a", gpus=0)
    board = ProgressBoard("a", emissions=lambda: make_record(1))
    attempts = Attempts(run.folder, attempt="a", meter=meter)
    return TrainingAttempt(run, stop=stop, board=board, attempts=attempts)


def test_sigterm_ends_what_runs(stop: StopRequest) -> None:
    with pytest.raises(Terminated):
        os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_is_only_noted_where_it_is_deferred(stop: StopRequest) -> None:
    with stop.deferred():
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Terminated):
        stop.check()


def test_sigterm_that_a_library_swallowed_ends_the_attempt_at_its_next_stage(
    stop: StopRequest, tmp_path: Path
) -> None:
    attempt = make_attempt(tmp_path, stop)
    with contextlib.suppress(BaseException):
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Terminated):
        attempt.finish()
