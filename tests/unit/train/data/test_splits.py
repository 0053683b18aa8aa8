"""What becomes of rows: equal prompts stay together, nothing held out is trained on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden_pod.errors import UserError
from modelgarden_train.data.formats import parse_row
from modelgarden_train.data.rows import Row
from modelgarden_train.data.splits import Shares, Splits, split_rows

TEXT = st.characters(codec="utf-8", exclude_characters="\0")


def pair(prompt: str, completion: str = "answer") -> dict[str, Any]:
    return {"prompt": prompt, "completion": completion}


def rows_of(*prompts: str) -> list[Row]:
    return [parse_row(pair(prompt), "PromptCompletion") for prompt in prompts]


def split(rows: list[Row], *, validation: float = 0.1, test: float = 0.0, seed: int = 1) -> Splits[Row]:
    return split_rows(rows, shares=Shares(validation, test), seed=seed)


@pytest.mark.parametrize(
    ("prompts", "test", "message"),
    [
        ("aa", 0.0, "fewer than two distinct prompts"),
        ("aba", 0.1, "fewer than three distinct prompts.*testSplit"),
    ],
)
def test_fewer_prompts_than_splits_cannot_be_split(prompts: str, test: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        split(rows_of(*prompts), test=test)


def test_too_few_prompts_are_told_with_what_was_dropped() -> None:
    with pytest.raises(
        UserError, match="fewer than two distinct prompts left, rows dropped: 99 NearDuplicate;"
    ):
        split_rows(rows_of("a"), shares=Shares(0.1, 0), seed=1, dropped="99 NearDuplicate")


def test_where_validation_is_given_nothing_is_split_off_for_it_and_the_test_split_is_the_same() -> None:
    rows = rows_of(*(f"q{number}" for number in range(50)))

    given, halved = split(rows, validation=0.0, test=0.2), split(rows, validation=0.3, test=0.2)

    assert given.validation == []
    assert given.test == halved.test
    assert len(given.training) + len(given.test) == 50
    assert split(rows_of("a"), validation=0.0).training == rows_of("a")
    with pytest.raises(UserError, match=r"fewer than two distinct prompts.* training and test;.*testSplit"):
        split(rows_of("a"), validation=0.0, test=0.2)


@given(
    prompts=st.lists(st.text(TEXT, min_size=1, max_size=3), min_size=3, max_size=60),
    validation=st.floats(0.01, 0.5),
    test=st.floats(0.01, 0.4) | st.just(0.0),
    seed=st.integers(0, 2**31 - 1),
)
def test_no_prompt_is_on_two_sides_and_none_is_lost_and_no_side_empty(
    prompts: list[str], validation: float, test: float, seed: int
) -> None:
    if len(set(prompts)) < 3:
        return
    rows = [
        parse_row(pair(f"q{prompt}", str(place)), "PromptCompletion") for place, prompt in enumerate(prompts)
    ]

    made = split(rows, validation=validation, test=test, seed=seed)

    sides = [made.training, made.validation, made.test]
    asked = [{row.question for row in side} for side in sides]
    assert all(asked[:2])
    assert bool(asked[2]) == (test > 0)
    assert sum(map(len, asked)) == len(set(prompts))
    assert sorted(row.digest for side in sides for row in side) == sorted(row.digest for row in rows)


@given(
    known=st.integers(200, 400),
    added=st.integers(1, 200),
    test=st.floats(0.05, 0.4) | st.just(0.0),
    seed=st.integers(0, 2**31 - 1),
)
def test_rows_that_come_move_no_other(known: int, added: int, test: float, seed: int) -> None:
    rows = rows_of(*(f"question {number}" for number in range(known + added)))

    before = split(rows[:known], validation=0.1, test=test, seed=seed)
    after = split(rows, validation=0.1, test=test, seed=seed)

    for one, other in zip(
        (before.training, before.validation, before.test),
        (after.training, after.validation, after.test),
        strict=True,
    ):
        assert {row.digest for row in one} <= {row.digest for row in other}
    kept = {row.digest for row in before.validation}
    assert [row for row in after.validation if row.digest in kept] == before.validation


def test_shares_of_many_prompts_are_what_was_asked_for() -> None:
    made = split(rows_of(*(f"question {number}" for number in range(5000))), validation=0.2, test=0.1)

    assert abs(len(made.validation) - 1000) < 90  # three standard deviations
    assert abs(len(made.test) - 500) < 65


def test_a_test_split_takes_nothing_from_validation() -> None:
    rows = rows_of(*(f"question {number}" for number in range(500)))

    assert split(rows, test=0.4).validation == split(rows).validation


def test_the_split_stays_what_it_is() -> None:
    """A run that goes on with a newer image, and a job that is made anew, hold out the same rows."""
    made = split(rows_of(*(f"question {number}" for number in range(50))), validation=0.1, test=0.1)

    assert [row.question for row in made.validation] == [
        f"question {number}" for number in (24, 23, 13, 17, 49, 40)
    ]
    assert [row.question for row in made.test] == [f"question {number}" for number in (46, 2, 10)]


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_the_file() -> None:
    rows = rows_of(*(f"question {number}" for number in range(50)))

    first = split(rows, validation=0.2)

    assert split(rows[::-1], validation=0.2).validation == first.validation
    assert split(rows, validation=0.2, seed=2).validation != first.validation
