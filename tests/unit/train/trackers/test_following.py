"""A tracker that follows a training: what it is told, and that nothing it does reaches the training."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import pytest

from modelgarden.api.redaction import keep_secret
from modelgarden_pod.errors import TemporaryError, UserError
from modelgarden_train.trackers.following import Following
from modelgarden_train.trackers.tracker import Ended

SECONDS = 60.0
"""More than anything here takes."""


class Recorded:
    """A tracker that notes what it is told, and does in `bring` what the test wants when it is to keep or to finish."""

    name = "Recorded"
    url = "s3://bucket/tensorboard"

    def __init__(self, bring: Callable[[], None] = lambda: None) -> None:
        self.told: list[tuple[object, ...]] = []
        self._bring = bring

    def start(self, hyperparameters: Mapping[str, str], *, from_step: int) -> None:
        self.told.append(("start", dict(hyperparameters), from_step))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.told.append(("log", step, dict(metrics)))

    def keep(self) -> None:
        self._bring()
        self.told.append(("keep",))

    def finish(self, ended: Ended) -> None:
        self._bring()
        self.told.append(("finish", ended))


class Failing:
    """What fails with these errors, one after the other, and then does it."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)

    def __call__(self) -> None:
        if self._errors:
            raise self._errors.pop(0)


def test_a_tracker_is_told_everything_in_its_order_and_starts_once() -> None:
    tracker = Recorded()
    following = Following(tracker)

    following.start({"epochs": "2"}, from_step=20)
    following.log(21, {"train/loss": 1.5})
    following.start({"epochs": "2", "tokensPerPass": "512"}, from_step=20)
    following.keep()
    following.finish("Completed")
    following.wait(SECONDS)

    assert tracker.told == [
        ("start", {"epochs": "2"}, 20), ("log", 21, {"train/loss": 1.5}), ("keep",), ("finish", "Completed"),
    ]  # fmt: skip
    status = following.status()
    assert (status.name, status.url, status.problem) == ("Recorded", "s3://bucket/tensorboard", None)


def test_of_a_training_that_has_not_begun_nothing_is_kept() -> None:
    tracker = Recorded()
    following = Following(tracker)

    following.keep()
    following.finish("Failed")
    following.wait(SECONDS)

    assert tracker.told == []


@pytest.mark.parametrize(
    ("error", "want"),
    [
        (UserError("AccessDenied", "s3:PutObject is denied"), "s3:PutObject is denied"),
        (ValueError("no such run"), "ValueError: no such run"),
    ],
)
def test_a_tracker_that_fails_is_let_be_and_told(error: Exception, want: str) -> None:
    tracker = Recorded(Failing(error))
    following = Following(tracker)

    following.start({}, from_step=0)
    following.keep()
    following.wait(SECONDS)
    following.keep()
    following.wait(SECONDS)

    assert following.status().problem == want
    assert tracker.told == [("start", {}, 0)]


def test_what_does_not_answer_is_told_and_tried_again() -> None:
    tracker = Recorded(Failing(TemporaryError("s3:PutObject does not answer"), TemporaryError("nor now")))
    following = Following(tracker)
    following.start({}, from_step=0)

    problems = []
    for _ in range(3):
        following.keep()
        following.log(1, {})  # what is only noted mends nothing
        following.wait(SECONDS)
        problems.append(following.status().problem)

    assert problems == ["s3:PutObject does not answer", "nor now", None]
    assert tracker.told == [("start", {}, 0), *[("log", 1, {})] * 2, ("keep",), ("log", 1, {})]


def test_what_did_not_answer_is_brought_at_the_end() -> None:
    following = Following(Recorded(Failing(TemporaryError("s3:PutObject does not answer"))))
    following.start({}, from_step=0)
    following.keep()
    following.finish("Terminated")
    following.wait(SECONDS)

    assert following.status().problem is None


@pytest.mark.parametrize(("seconds", "want"), [(0.0, 3), (3600.0, 0)])
def test_a_tracker_keeps_by_itself_after_its_time(seconds: float, want: int) -> None:
    tracker = Recorded()
    following = Following(tracker, keep_seconds=seconds)

    following.start({}, from_step=0)
    for step in range(3):
        following.log(step, {})
    following.wait(SECONDS)

    assert tracker.told.count(("keep",)) == want


def test_no_value_of_a_secret_is_told() -> None:
    keep_secret("tracker-canary-4711")
    following = Following(Recorded(Failing(ValueError("bad key tracker-canary-4711"))))

    following.start({}, from_step=0)
    following.keep()
    following.wait(SECONDS)

    problem = following.status().problem
    assert problem is not None
    assert problem.startswith("ValueError: bad key ")
    assert "canary" not in problem


def test_a_tracker_that_hangs_loses_what_waits_and_delays_nobody() -> None:
    gate = threading.Event()
    tracker = Recorded(lambda: assert_waited(gate))
    following = Following(tracker, most_waiting=3)
    following.start({}, from_step=0)
    following.keep()
    began = time.monotonic()
    try:
        for step in range(10):
            following.log(step, {})
        following.wait(SECONDS)
    finally:
        gate.set()

    assert time.monotonic() - began < SECONDS / 2
    assert following.status().problem == "it does not keep up with the training"


def test_the_end_waits_for_a_tracker_that_hangs_no_longer_than_it_is_given() -> None:
    gate = threading.Event()
    tracker = Recorded(lambda: assert_waited(gate))
    following = Following(tracker)
    following.start({}, from_step=0)
    try:
        following.finish("Completed")
        following.wait(0.01)
        assert following.status().problem == "it was not done within 0 s of the end of the training"
    finally:
        gate.set()


def assert_waited(gate: threading.Event) -> None:
    assert gate.wait(SECONDS)
