"""A tracker that follows a training: what it is told, and that nothing it does reaches the training."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest

from modelgarden.api.redaction import keep_secret
from modelgarden_pod.errors import TemporaryError
from modelgarden_train.trackers.following import Following


class Recorded:
    """A tracker that notes what it is told, and does what the test wants."""

    name = "Recorded"

    def __init__(self, *, error: Exception | None = None, gate: threading.Event | None = None) -> None:
        self.told: list[tuple[object, ...]] = []
        self._error = error
        self._gate = gate

    def start(self, hyperparameters: Mapping[str, str], *, from_step: int) -> None:
        self.told.append(("start", dict(hyperparameters), from_step))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._gate is not None:
            self._gate.wait(60)
        if self._error is not None:
            raise self._error
        self.told.append(("log", step, dict(metrics)))

    def keep(self) -> None:
        self.told.append(("keep",))


def test_a_tracker_is_told_everything_in_its_order_and_starts_once() -> None:
    tracker = Recorded()
    following = Following(tracker, url="s3://bucket/tensorboard")

    following.start({"epochs": "2"}, from_step=20)
    following.log(21, {"train/loss": 1.5})
    following.start({"epochs": "2", "tokensPerPass": "512"}, from_step=20)
    following.keep()
    following.wait(60)

    assert tracker.told == [("start", {"epochs": "2"}, 20), ("log", 21, {"train/loss": 1.5}), ("keep",)]
    status = following.status()
    assert (status.name, status.url, status.problem) == ("Recorded", "s3://bucket/tensorboard", None)


@pytest.mark.parametrize(
    ("error", "want"),
    [
        (TemporaryError("s3:PutObject does not answer"), "s3:PutObject does not answer"),
        (ValueError("no such run"), "ValueError: no such run"),
    ],
)
def test_a_tracker_that_fails_is_let_be_and_told(error: Exception, want: str) -> None:
    tracker = Recorded(error=error)
    following = Following(tracker, url=None)

    following.log(1, {})
    following.wait(60)
    following.keep()
    following.wait(60)

    assert following.status().problem == want
    assert tracker.told == []


def test_no_value_of_a_secret_is_told() -> None:
    keep_secret("tracker-canary-4711")
    following = Following(Recorded(error=ValueError("bad key tracker-canary-4711")), url=None)

    following.log(1, {})
    following.wait(60)

    problem = following.status().problem
    assert problem is not None
    assert problem.startswith("ValueError: bad key ")
    assert "canary" not in problem


def test_a_tracker_that_hangs_loses_what_waits_and_delays_nobody() -> None:
    gate = threading.Event()
    following = Following(Recorded(gate=gate), url=None, most_waiting=3)
    try:
        for step in range(10):
            following.log(step, {})
    finally:
        gate.set()

    assert following.status().problem == "it does not keep up with the training"


def test_the_end_waits_for_a_tracker_no_longer_than_it_is_given() -> None:
    gate = threading.Event()
    following = Following(Recorded(gate=gate), url=None)
    try:
        following.log(1, {})
        following.wait(0.01)
    finally:
        gate.set()

    assert following.status().problem == "it was not done within 0 s of the end of the training"
