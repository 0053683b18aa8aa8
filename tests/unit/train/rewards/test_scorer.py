"""What rewards come to together."""

from __future__ import annotations

from modelgarden_train.rewards.scorer import Scores


def test_rewards_add_up_by_weight_and_those_that_do_not_judge_are_left_out() -> None:
    scores = Scores(((1.0, 0.0, None), (0.5, None, None)), weights=(2.0, -1.0))

    assert scores.totals == (1.5, 0.0, None)


def test_no_completions_have_no_totals() -> None:
    assert Scores(((), ()), weights=(1.0, 1.0)).totals == ()
