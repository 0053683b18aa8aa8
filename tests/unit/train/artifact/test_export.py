"""How the merged model is held against the trained one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden_train.artifact.differences import mean_difference
from modelgarden_train.artifact.export import within_tokens


def test_the_shortest_rows_are_scored_and_one_in_any_case() -> None:
    assert within_tokens([600, 100, 400, 300], budget=800) == [1, 2, 3]
    assert within_tokens([5000, 4000], budget=800) == [1]
    assert within_tokens([], budget=800) == []


@given(tokens=st.lists(st.integers(1, 100), min_size=1), budget=st.integers(1, 500))
def test_scored_rows_keep_their_order_and_the_budget(tokens: list[int], budget: int) -> None:
    chosen = within_tokens(tokens, budget=budget)

    assert chosen == sorted(set(chosen))
    assert len(chosen) == 1 or sum(tokens[place] for place in chosen) <= budget


def test_differences_are_taken_token_by_token() -> None:
    assert mean_difference([[1.0, 2.0], [3.0]], [[1.5, 2.0], [2.0]]) == pytest.approx(0.5)
