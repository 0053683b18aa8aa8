"""What becomes of rows: equal prompts stay together, nothing held out is trained on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden_pod.errors import UserError
from modelgarden_train.data.formats import parse_row
from modelgarden_train.data.rows import Row
from modelgarden_train.data.splits import split_rows, without_duplicates

TEXT = st.characters(codec="utf-8", exclude_characters="\0")


def pair(prompt: str, completion: str = "answer") -> dict[str, Any]:
    return {"prompt": prompt, "completion": completion}


def rows_of(*prompts: str) -> list[Row]:
    return [parse_row(pair(prompt), "PromptCompletion") for prompt in prompts]


def test_only_exact_duplicates_are_dropped_and_the_order_stays() -> None:
    rows = [
        parse_row(pair(*one), "PromptCompletion") for one in [("b", "1"), ("a", "1"), ("b", "1"), ("b", "2")]
    ]

    assert [(row.question, row.answer) for row in without_duplicates(rows)] == [
        ("b", "1"),
        ("a", "1"),
        ("b", "2"),
    ]


def test_one_distinct_prompt_cannot_be_split() -> None:
    with pytest.raises(UserError, match="fewer than two distinct prompts"):
        split_rows(rows_of("a", "a"), share=0.5, seed=1)


@given(
    prompts=st.lists(st.text(TEXT, min_size=1, max_size=3), min_size=2, max_size=60),
    share=st.floats(0.01, 0.5),
    seed=st.integers(0, 2**31 - 1),
)
def test_no_prompt_is_on_both_sides_and_none_is_lost(prompts: list[str], share: float, seed: int) -> None:
    if len(set(prompts)) < 2:
        return
    rows = [
        parse_row(pair(f"q{prompt}", str(place)), "PromptCompletion") for place, prompt in enumerate(prompts)
    ]

    training, validation = split_rows(rows, share=share, seed=seed)

    held_out = {row.question for row in validation}
    assert held_out
    assert training
    assert not held_out & {row.question for row in training}
    assert sorted(row.digest for row in training + validation) == sorted(row.digest for row in rows)
    assert abs(len(held_out) - share * len(set(prompts))) <= 1


def test_the_split_is_that_of_earlier_versions() -> None:
    """A run that goes on with a newer image holds out the same rows."""
    _, validation = split_rows(rows_of(*(f"question {number}" for number in range(50))), share=0.1, seed=1)

    assert [row.question for row in validation] == [f"question {number}" for number in (24, 23, 13, 17, 49)]


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_the_file() -> None:
    rows = rows_of(*(f"question {number}" for number in range(50)))

    _, first = split_rows(rows, share=0.2, seed=1)
    _, again = split_rows(rows[::-1], share=0.2, seed=1)
    _, other = split_rows(rows, share=0.2, seed=2)

    assert first == again
    assert first != other
    assert len(first) == 10
