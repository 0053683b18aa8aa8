"""Completions of prompts in groups: advantages, and what each token counts for."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.finetunejob import Grpo, GrpoLoss, Objective, Reward
from modelgarden_train.objectives.group import (
    Grouped,
    advantages,
    answer_tokens,
    learned_rows,
    scales,
    sequences,
    widest,
)
from tests.unit.train.builders import make_config

REWARDS = (Reward(type="ExactMatch"),)
GRPO = Objective(type="GRPO", grpo=Grpo(rewards=REWARDS, generations=4, max_completion_length=100))


def test_an_advantage_is_how_far_a_reward_lies_above_those_of_its_own_prompt() -> None:
    found = advantages([1.0, 0.0, 5.0, 5.0], group=2, scaled=True)

    deviation = math.sqrt(0.5) + 1e-4
    assert found == pytest.approx([0.5 / deviation, -0.5 / deviation, 0.0, 0.0])


def test_without_scaling_an_advantage_is_in_units_of_the_reward() -> None:
    assert advantages([3.0, 0.0, 0.0], group=3, scaled=False) == pytest.approx([2.0, -1.0, -1.0])


def test_a_completion_that_is_not_judged_has_no_part_in_its_group() -> None:
    assert advantages([1.0, None, 0.0], group=3, scaled=False) == pytest.approx([0.5, 0.0, -0.5])
    assert advantages([None, None], group=2, scaled=True) == [0.0, 0.0]
    assert advantages([7.0, None], group=2, scaled=True) == [0.0, 0.0]


@given(
    groups=st.lists(
        st.lists(st.one_of(st.none(), st.floats(-1e3, 1e3)), min_size=3, max_size=3), min_size=1, max_size=5
    ),
    scaled=st.booleans(),
)
def test_the_advantages_of_a_prompt_cancel_out(groups: list[list[float | None]], scaled: bool) -> None:
    found = advantages([reward for group in groups for reward in group], group=3, scaled=scaled)

    for start in range(0, len(found), 3):
        assert sum(found[start : start + 3]) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("loss", "want"),
    [
        ("GRPO", [1 / (2 * 2), 1 / (2 * 6)]),
        ("DAPO", [1 / 8, 1 / 8]),
        ("DrGRPO", [1 / 20, 1 / 20]),
    ],
)
def test_each_loss_takes_its_own_mean(loss: GrpoLoss, want: list[float]) -> None:
    assert scales([2, 6], loss, longest=10) == pytest.approx(want)


def test_a_completion_that_was_cut_counts_only_where_the_settings_say_so() -> None:
    prompts = [{"prompt_ids": [1]}, {"prompt_ids": [1]}]
    completions = [[5, 9], [5, 6, 7]]

    def rows(*, mask_truncated: bool) -> list[float]:
        settings = Grpo(rewards=REWARDS, generations=2, mask_truncated=mask_truncated)
        found = learned_rows(prompts, completions, [1.0, 0.0], stops=[9], settings=settings)
        assert [row["completion_ids"] for row in found] == completions
        return [row["scale"] for row in found]

    assert rows(mask_truncated=False) == pytest.approx([1 / 5, 1 / 5])
    assert rows(mask_truncated=True) == pytest.approx([1 / 2, 0.0])


def test_a_row_is_as_many_sequences_as_there_are_generations_and_may_be_longer_than_its_answer() -> None:
    config = make_config(objective=GRPO)

    assert sequences(config) == 4
    assert widest(config, 50) == 150
    assert widest(config, config.training.max_sequence_length - 10) == config.training.max_sequence_length
    assert answer_tokens(config) == 100


def test_other_objectives_train_rows_as_they_are() -> None:
    config = make_config()

    assert (sequences(config), widest(config, 50)) == (1, 50)
    assert answer_tokens(config) == config.evaluation.max_new_tokens


def test_a_completion_takes_its_prompt_with_it() -> None:
    form = Grouped(pad_token=0)
    row = {"prompt_ids": [1, 2], "completion_ids": [3], "advantage": 1.0, "scale": 1.0}

    assert (form.tokens(row), form.width(row), form.weight([row, row])) == (3, 3, 2)
