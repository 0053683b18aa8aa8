"""How long a worker may be silent."""

from __future__ import annotations

import pytest

from modelgarden_train.attempt.messages import Alive, Message, Resolved, Stage, Stepped
from modelgarden_train.attempt.stall import LONGEST_GAP_SECONDS, PATIENT_SECONDS, SignsOfLife

TIMEOUT = 60.0
STEP = Stepped(step=1, total=9, epoch=0.1, tokens=100, loss=None)


class Scene:
    """A worker that is looked at each second of a clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.signs = SignsOfLife(TIMEOUT, clock=lambda: self.now)

    def stalls_within(self, seconds: float) -> bool:
        """Look each second; tell whether it counts as stalled by then."""
        end = self.now + seconds
        while self.now < end:
            self.now += 1.0
            if self.signs.stalled():
                return True
        return False


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize(
    ("told", "most"),
    [
        pytest.param([], PATIENT_SECONDS, id="nothing yet"),
        pytest.param([Stage(name="Training")], PATIENT_SECONDS, id="before the first step, which may compile"),
        pytest.param([Stage(name="Training"), Alive()], PATIENT_SECONDS, id="in the first step"),
        pytest.param([Stage(name="Training"), STEP], TIMEOUT, id="between steps"),
        pytest.param([Stage(name="Training"), STEP, Alive()], TIMEOUT, id="between passes"),
        pytest.param([STEP, Resolved(hyperparameters={})], TIMEOUT, id="after a smaller plan"),
        pytest.param([STEP, Stage(name="Loading")], PATIENT_SECONDS, id="loading anew, with less memory"),
        pytest.param([STEP, Stage(name="Exporting")], PATIENT_SECONDS, id="exporting"),
    ],
)  # fmt: skip
def test_a_silent_worker_stalls_after_what_its_work_may_take(
    told: list[Message], most: float, scene: Scene
) -> None:
    for message in told:
        scene.signs.heard(message)
    scene.signs.stalled()

    assert not scene.stalls_within(most)
    assert scene.stalls_within(1)
    assert scene.signs.silent_seconds == most + 1


def test_every_sign_starts_the_time_anew(scene: Scene) -> None:
    scene.signs.heard(STEP)
    for _ in range(5):
        assert not scene.stalls_within(TIMEOUT)
        scene.signs.heard(Alive())

    assert scene.stalls_within(TIMEOUT + 2)


def test_time_in_which_the_machine_stood_still_is_no_silence(scene: Scene) -> None:
    scene.signs.heard(STEP)
    scene.signs.stalled()
    scene.now += 10_000

    assert not scene.signs.stalled()
    assert scene.signs.silent_seconds == LONGEST_GAP_SECONDS


def test_a_timeout_of_hours_holds_for_everything() -> None:
    assert SignsOfLife(80_000.0, clock=lambda: 0.0).most_seconds == 80_000.0
