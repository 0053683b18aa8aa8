"""Scores and how sure they are."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.evaluation import Score
from modelgarden_train.evaluation.statistics import FEWEST_ROWS, difference, mean, perplexity, share


def test_a_share_tells_what_it_is_of() -> None:
    assert share(15, 20) == Score(value="0.7500", numerator=15, denominator=20)


def test_perplexity_weighs_tokens_and_not_rows() -> None:
    assert perplexity([[1.0], [2.0, 2.0, 2.0]]).value == f"{math.exp(7 / 4):.6g}"


def test_a_perplexity_beyond_all_floats_is_still_a_number() -> None:
    assert float(perplexity([[1e6]]).value) > 1e300


@pytest.mark.parametrize("rows", [1, FEWEST_ROWS - 1])
def test_few_rows_give_no_interval(rows: int) -> None:
    assert perplexity([[1.0, 2.0]] * rows).interval is None


@given(st.lists(st.lists(st.floats(0, 20), min_size=1, max_size=5), min_size=FEWEST_ROWS, max_size=60))
def test_the_value_lies_in_its_interval(losses: list[list[float]]) -> None:
    score = perplexity(losses)

    assert score.interval is not None
    assert float(score.interval.low) <= float(score.value) <= float(score.interval.high)


def test_rows_that_are_all_alike_leave_no_doubt() -> None:
    score = perplexity([[0.5, 1.5]] * FEWEST_ROWS)

    assert score.interval is not None
    assert (score.interval.low, score.interval.high) == (score.value, score.value)


def test_the_interval_holds_what_it_promises() -> None:
    """Rows differ in length and in difficulty; tokens of a row are alike, which intervals over tokens would miss."""
    rng = random.Random(20261126)

    def row() -> list[float]:
        difficulty = rng.gammavariate(2.0, 0.5)
        return [rng.expovariate(1 / difficulty) for _ in range(rng.randint(1, 20))]

    want = 1.0  # mean of the gamma distribution, and lengths are independent of it
    tries = 1000
    held = 0
    for _ in range(tries):
        interval = perplexity([row() for _ in range(100)]).interval
        assert interval is not None
        held += float(interval.low) <= math.exp(want) <= float(interval.high)

    assert 0.90 <= held / tries <= 0.97


def test_a_mean_has_the_interval_of_the_normal_distribution() -> None:
    values = [0.0, 2.0] * FEWEST_ROWS  # mean 1, standard deviation of the sample sqrt(60/59)

    score = mean(values)

    assert score.value == "1"
    assert score.interval is not None
    half = 1.959964 * math.sqrt(60 / 59 / 60)
    assert float(score.interval.low) == pytest.approx(1 - half, rel=1e-4)
    assert float(score.interval.high) == pytest.approx(1 + half, rel=1e-4)
    assert mean([-3.5]) == Score(value="-3.5")


def test_a_difference_of_means_is_as_unsure_as_both() -> None:
    values, others = [0.0, 2.0] * FEWEST_ROWS, [5.0, 5.0] * FEWEST_ROWS

    score = difference(values, others)

    assert score.value == "-4"
    assert score.interval is not None
    half = 1.959964 * math.sqrt(60 / 59 / 60)
    assert float(score.interval.high) == pytest.approx(-4 + half, rel=1e-4)
    assert difference(values, others[:3]).interval is None
    assert difference([2.0], [0.5]) == Score(value="1.5")
