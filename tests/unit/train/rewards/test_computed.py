"""Rewards that are a comparison."""

from __future__ import annotations

import pytest

from modelgarden.api.finetunejob.rewards import LengthReward
from modelgarden_train.rewards.completion import Completion
from modelgarden_train.rewards.computed import exact_match, length


@pytest.mark.parametrize(
    ("text", "want"), [("Paris", 1.0), (" Paris\n", 1.0), ("paris", 0.0), ("", 0.0), ("Paris.", 0.0)]
)
def test_a_completion_matches_but_for_the_space_around_it(text: str, want: float) -> None:
    assert exact_match(Completion("Capital of France?", text, (), "Paris ")) == want


@pytest.mark.parametrize(
    ("tokens", "wanted", "want"),
    [
        pytest.param(9, LengthReward(min_tokens=10), 0.0, id="too short without slack"),
        pytest.param(10, LengthReward(min_tokens=10), 1.0, id="the fewest"),
        pytest.param(500, LengthReward(min_tokens=10), 1.0, id="no most"),
        pytest.param(8, LengthReward(min_tokens=10, slack_tokens=4), 0.5, id="half of the slack below"),
        pytest.param(20, LengthReward(max_tokens=20), 1.0, id="the most"),
        pytest.param(21, LengthReward(max_tokens=20), 0.0, id="too long without slack"),
        pytest.param(0, LengthReward(max_tokens=20), 1.0, id="empty, and no fewest"),
        pytest.param(
            21, LengthReward(min_tokens=5, max_tokens=20, slack_tokens=4), 0.75, id="into the slack"
        ),
        pytest.param(24, LengthReward(max_tokens=20, slack_tokens=4), 0.0, id="all of the slack"),
        pytest.param(99, LengthReward(max_tokens=20, slack_tokens=4), 0.0, id="far beyond it"),
    ],
)
def test_a_length_is_worth_less_the_further_it_is_from_what_is_wanted(
    tokens: int, wanted: LengthReward, want: float
) -> None:
    assert length(tokens, wanted) == want
