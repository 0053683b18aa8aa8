"""A training's numbers between two logs: the same after an interruption, and never saved once they are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.trainer_process import printed_by, tiny_model

PROBE = Path(__file__).with_name("numbers_probe.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return printed_by(PROBE, str(tiny_model()), folder=tmp_path_factory.mktemp("numbers"))


def test_a_mean_over_several_steps_is_the_same_where_an_attempt_ended_among_them(
    found: dict[str, Any],
) -> None:
    whole, resumed = found["seldom logged"]["whole"], found["seldom logged"]["resumed"]

    assert found["seldom logged"]["stopped"] == [1, 4]
    assert [point["step"] for point in resumed] == [1, 4, 8, 12]
    assert [point["loss"] for point in resumed] == pytest.approx([point["loss"] for point in whole], rel=1e-6)


@pytest.mark.parametrize(
    ("case", "want_newest"),
    [("gradient", 5), ("gradient at a checkpoint", None), ("gradient at SIGTERM", 5)],
)
def test_a_gradient_that_is_no_number_ends_the_training_at_its_step_before_a_checkpoint(
    case: str, want_newest: int | None, found: dict[str, Any]
) -> None:
    kept = f"; the checkpoint of step {want_newest} stays" if want_newest else ""

    assert found[case] == {
        "reason": "Diverged",
        "message": f"the gradient norm became inf at step 7{kept}. Try a lower training.learningRate (it is 0.01) "
        "or a longer warm-up",
        "newest": want_newest,
    }


def test_a_loss_that_is_no_number_ends_the_training_when_it_is_next_looked_at(found: dict[str, Any]) -> None:
    assert found["loss"]["reason"] == "Diverged"
    assert found["loss"]["message"].startswith(
        "the loss became nan at step 8; the checkpoint of step 5 stays."
    )
    assert found["loss"]["newest"] == 5
