"""Which step was the best by the validation loss, and when a training has waited long enough for a better one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from modelgarden.api.artifact import ValidationRecord
from modelgarden.api.finetunejob import EarlyStopping, Training, Validation
from modelgarden_train.objectives.patience import is_due, is_over, seen, status_of

EVERY_FIVE = Training(validation=Validation(every_steps=5))


def after(losses: Sequence[float], *, min_delta: float = 0.0) -> ValidationRecord | None:
    """Return what is known after validations at every fifth step."""
    known = None
    for number, loss in enumerate(losses, start=1):
        known = seen(known, step=5 * number, loss=loss, min_delta=min_delta)
    return known


@pytest.mark.parametrize(
    ("losses", "min_delta", "best", "without"),
    [
        pytest.param([2.0], 0.0, (5, 2.0), 0, id="the first is the best"),
        pytest.param([2.0, 1.5, 1.7, 1.6], 0.0, (10, 1.5), 2, id="worse ones are counted"),
        pytest.param([2.0, 1.5, 1.7, 1.4], 0.0, (20, 1.4), 0, id="a better one begins anew"),
        pytest.param([2.0, 2.0], 0.0, (5, 2.0), 1, id="an equal one is none, and the earlier stays"),
        pytest.param([2.0, 1.9, 1.8], 0.25, (15, 1.8), 2, id="the best by little, but no improvement"),
        pytest.param([2.0, 1.9, 1.6], 0.25, (15, 1.6), 0, id="an improvement on the best so far"),
    ],
)
def test_the_best_step_and_how_long_it_has_been(
    losses: list[float], min_delta: float, best: tuple[int, float], without: int
) -> None:
    known = after(losses, min_delta=min_delta)

    assert known is not None
    assert (known.best_step, known.best_loss) == best
    assert known.without_improvement == without
    assert (known.step, known.loss) == (5 * len(losses), losses[-1])


@pytest.mark.parametrize(
    ("losses", "patience", "want"),
    [
        ([], 1, False),
        ([2.0], 1, False),
        ([2.0, 2.1], 1, True),
        ([2.0, 2.1], 2, False),
        ([1, 2, 1.5], 2, True),
    ],
)
def test_it_is_over_after_as_many_as_the_patience(losses: list[float], patience: int, want: bool) -> None:
    assert is_over(EarlyStopping(patience=patience), after(losses)) is want
    assert is_over(None, after(losses)) is False


@pytest.mark.parametrize(
    ("step", "validated", "want"),
    [(4, None, False), (5, None, True), (5, 5, False), (10, 5, True), (12, 10, True), (12, 12, False)],
)
def test_steps_that_are_due(step: int, validated: int | None, want: bool) -> None:
    known = None if validated is None else seen(None, step=validated, loss=1.0)

    assert is_due(EVERY_FIVE, known, step=step, steps=12) is want
    assert is_due(Training(), known, step=step, steps=12) is False


def test_what_is_told_of_a_training_that_stopped_early() -> None:
    training = EVERY_FIVE.model_copy(update={"early_stopping": EarlyStopping(patience=1)})
    known = after([1.23456789, 1.5])
    assert known is not None

    told = status_of(training, known, steps=100)

    assert (told.step, told.loss, told.best_step, told.best_loss) == (10, "1.5", 5, "1.23457")
    assert told.stopped_early is True
    assert status_of(training, known, steps=10).stopped_early is False, "it had no more steps"
    assert status_of(EVERY_FIVE, known, steps=100).stopped_early is False
