"""What people set of a training changes it as it should, also where a second attempt goes on, with the real Unsloth."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.trainer_process import printed_by, tiny_model

PROBE = Path(__file__).with_name("methods_probe.py")
STEPS, STOP, PEAK = 12, 7, 0.01
"""Of the probe."""
SCHEDULES: dict[str, tuple[str, int, Callable[[int], float]]] = {
    "Cosine": ("Cosine", 1, lambda done: 0.5 * (1 + math.cos(math.pi * (done - 1) / (STEPS - 1)))),
    "Linear": ("Linear", 4, lambda done: (STEPS - done) / (STEPS - 4)),
    "Constant": ("Constant", 3, lambda done: 1.0),
    "InverseSqrt": ("InverseSqrt", 2, lambda done: math.sqrt(2 / done)),
    "WarmupStableDecay": ("WarmupStableDecay", 2, lambda done: 1.0 if done <= 10 else 0.5),
}
"""By the case: the schedule, its warm-up in steps, and its share of the peak after so many steps, past the warm-up."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return printed_by(PROBE, str(tiny_model()), folder=tmp_path_factory.mktemp("methods"))


def values(points: list[dict[str, Any]], name: str) -> list[float]:
    return [point[name] for point in points]


@pytest.mark.parametrize("case", SCHEDULES)
def test_the_learning_rate_goes_as_its_schedule_says(case: str, found: dict[str, Any]) -> None:
    schedule, warmup, share = SCHEDULES[case]
    used, points = found[case]["hyperparameters"], found[case]["whole"]

    assert (used["learningRateSchedule"], used["warmupSteps"]) == (schedule, str(warmup))
    wanted = [done / warmup if done < warmup else share(done) for done in range(STEPS)]
    assert values(points, "learning_rate") == pytest.approx([PEAK * one for one in wanted], abs=1e-6)


def test_a_run_of_so_many_steps_tells_the_epochs_that_they_are(found: dict[str, Any]) -> None:
    used, points = found["Cosine"]["hyperparameters"], found["Cosine"]["whole"]

    assert values(points, "step") == list(range(1, STEPS + 1))
    assert (used["steps"], used["epochs"]) == ("12", "2.4")


@pytest.mark.parametrize("case", [*SCHEDULES, "clipped", "not clipped", "padded", "noisy"])
def test_a_training_in_two_attempts_has_the_curve_of_one(case: str, found: dict[str, Any]) -> None:
    whole, resumed = found[case]["whole"], found[case]["resumed"]

    assert found[case]["stopped"] == list(range(1, STOP + 1))
    assert values(resumed, "step") == values(whole, "step")
    for name in ("loss", "learning_rate", "gradient_norm"):
        assert values(resumed, name) == pytest.approx(values(whole, name), rel=1e-5)


def test_gradients_are_clipped_where_it_is_asked_for(found: dict[str, Any]) -> None:
    plain, clipped, free = (
        values(found[case]["whole"], "loss") for case in ("Cosine", "clipped", "not clipped")
    )

    assert plain[-1] < plain[0] - 0.1
    assert clipped[-1] > clipped[0] - 0.05, "AdamW sees gradients that are far below its epsilon"
    assert free[-1] < free[0] - 0.1
    assert found["clipped"]["hyperparameters"]["maxGradientNorm"] == "1e-12"
    assert values(found["not clipped"]["whole"], "gradient_norm")[0] == pytest.approx(
        values(found["Cosine"]["whole"], "gradient_norm")[0]
    )


def test_padded_rows_learn_the_same(found: dict[str, Any]) -> None:
    padded, plain = found["padded"], found["Cosine"]

    assert padded["hyperparameters"]["batching"] == "padded: training.packing is false"
    assert plain["hyperparameters"]["batching"] == "padding-free"
    assert values(padded["whole"], "loss") == pytest.approx(values(plain["whole"], "loss"), rel=1e-3)


def test_noise_on_the_embeddings_makes_another_loss(found: dict[str, Any]) -> None:
    noisy, padded = found["noisy"], found["padded"]

    assert noisy["hyperparameters"]["neftuneNoiseAlpha"] == "5.0"
    assert noisy["hyperparameters"]["batching"].startswith("padded: NEFTune")
    assert values(noisy["whole"], "loss")[0] != pytest.approx(values(padded["whole"], "loss")[0], rel=1e-4)
