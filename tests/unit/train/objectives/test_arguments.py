"""The schedules of the learning rate, as Transformers is asked for them."""

from __future__ import annotations

from typing import get_args

import pytest

from modelgarden.api.finetunejob import Optimizer, Schedule, Training
from modelgarden_train.objectives.arguments import OPTIMIZERS, SCHEDULES, schedule


def test_every_schedule_of_the_api_has_a_name_there() -> None:
    assert set(SCHEDULES) == set(get_args(Schedule))


def test_every_optimizer_of_the_api_has_a_name_there() -> None:
    assert set(OPTIMIZERS) == set(get_args(Optimizer))


def test_warm_up_is_given_in_steps() -> None:
    assert schedule(Training(learning_rate_schedule="Linear", warmup_ratio=0.1), 50) == {
        "lr_scheduler_type": "linear",
        "warmup_steps": 5,
    }


@pytest.mark.parametrize(
    ("steps", "warmup", "want"),
    [
        pytest.param(200, 20, 20, id="a tenth"),
        pytest.param(7, 0, 1, id="at least a step"),
        pytest.param(1, 1, 0, id="nothing is left of the only step"),
    ],
)
def test_a_stable_learning_rate_falls_at_the_end(steps: int, warmup: int, want: int) -> None:
    training = Training(learning_rate_schedule="WarmupStableDecay", warmup_ratio=min(0.5, warmup / steps))

    assert schedule(training, steps)["lr_scheduler_kwargs"] == {"num_decay_steps": want}
