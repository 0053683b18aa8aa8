"""How long a training goes on, and how its learning rate rises."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden.api.finetunejob import EarlyStopping, LoraParameters, Training, Validation


@pytest.mark.parametrize(
    ("fields", "rows", "want"),
    [
        pytest.param({}, 33, 3 * 3, id="three epochs where nothing is said"),
        pytest.param({"epochs": 2}, 33, 2 * 3, id="a last batch of one row"),
        pytest.param({"max_steps": 7}, 33, 7, id="steps"),
        pytest.param({"epochs": 1}, 1, 1, id="one row"),
    ],
)
def test_the_steps_of_a_run(fields: dict[str, Any], rows: int, want: int) -> None:
    assert Training(**fields).steps(rows) == want


def test_steps_may_end_within_an_epoch() -> None:
    training = Training(max_steps=5, effective_batch_size=16)

    assert training.epochs_in(5, 33) == pytest.approx(5 / 3)


@pytest.mark.parametrize(
    ("fields", "steps", "want"),
    [
        pytest.param({}, 100, 5, id="a twentieth where nothing is said"),
        pytest.param({"warmup_ratio": 0.1}, 101, 11, id="a begun step counts"),
        pytest.param({"warmup_ratio": 0.0}, 100, 0, id="no ratio"),
        pytest.param({"warmup_steps": 8}, 100, 8, id="steps"),
        pytest.param({"warmup_steps": 8}, 10, 5, id="steps of a short run"),
        pytest.param({"warmup_steps": 0}, 100, 0, id="no steps"),
    ],
)
def test_the_warm_up(fields: dict[str, Any], steps: int, want: int) -> None:
    assert Training(**fields).steps_of_warmup(steps) == want


@pytest.mark.parametrize(
    ("training", "want"),
    [
        (Training(), True),
        (Training(epochs=7, learning_rate=1e-5, warmup_ratio=0.1, lora=LoraParameters(rank=8)), True),
        (Training(max_steps=7), False),
        (Training(warmup_steps=0), False),
        (Training(learning_rate_schedule="Linear"), False),
        (Training(max_gradient_norm=0.5), False),
        (Training(packing=False), False),
        (Training(neftune_noise_alpha=5.0), False),
        (Training(lora=LoraParameters(use_dora=True)), False),
        (Training(validation=Validation(every_steps=5)), False),
    ],
)
def test_only_what_a_trainer_of_before_would_overlook_needs_another_one(
    training: Training, want: bool
) -> None:
    assert training.of_first_form is want


@pytest.mark.parametrize(("every", "steps", "want"), [(5, 12, 4), (5, 10, 3), (100, 12, 2), (1, 1, 2)])
def test_how_often_a_run_is_validated(every: int, steps: int, want: int) -> None:
    assert Validation(every_steps=every).times(steps) == want, "before the first step, and after the last"


def test_nothing_stops_early_that_is_not_validated() -> None:
    with pytest.raises(ValueError, match=r"set validation\.everySteps"):
        Training(early_stopping=EarlyStopping())
