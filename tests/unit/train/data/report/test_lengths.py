"""Percentiles and histogram of lengths."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.finetunejob import Lengths
from modelgarden_train.data.report.lengths import histogram_of, lengths_of

TOKENS = st.lists(st.integers(1, 1_000_000), min_size=1, max_size=300)


def test_a_percentile_is_the_length_of_a_row() -> None:
    assert lengths_of(range(1, 201)) == Lengths(p50=100, p90=180, p99=198, max=200)
    assert lengths_of([7]) == Lengths(p50=7, p90=7, p99=7, max=7)
    assert lengths_of([3, 1, 2]) == Lengths(p50=2, p90=3, p99=3, max=3)


@given(TOKENS)
def test_every_row_is_in_one_bin_of_a_bounded_number(tokens: list[int]) -> None:
    bins = histogram_of(tokens)

    assert 1 <= len(bins) <= 25
    assert sum(one.rows for one in bins) == len(tokens)
    for one in bins:
        assert one.rows == sum(one.from_tokens <= length <= one.to_tokens for length in tokens)
    assert bins[0].rows
    assert bins[-1].rows


def test_lengths_that_are_close_have_even_bins_and_others_growing_ones() -> None:
    even = histogram_of(range(100, 200))
    growing = histogram_of([10] * 50 + [5_000])

    assert len({one.to_tokens - one.from_tokens for one in even[1:]}) == 1
    widths = [one.to_tokens - one.from_tokens for one in growing]
    assert widths[1:] == sorted(widths[1:])
    assert widths[-1] > 100 * widths[1]
