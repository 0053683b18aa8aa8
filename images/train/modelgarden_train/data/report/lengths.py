"""How long rows are: percentiles, and a histogram to see them by. Pure, and in whole tokens."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, log2
from typing import Final

from modelgarden.api.artifact import LengthBin
from modelgarden.api.finetunejob import Lengths

_MOST_BINS: Final = 24
_PARTS_OF_A_DOUBLING: Final = 2


def lengths_of(tokens: Iterable[int]) -> Lengths:
    """Return the percentiles of lengths, of which there is at least one, by nearest rank: each is a length of a row."""
    ordered = sorted(tokens)

    def percentile(share: float) -> int:
        return ordered[max(0, ceil(share * len(ordered)) - 1)]

    return Lengths(p50=percentile(0.5), p90=percentile(0.9), p99=percentile(0.99), max=ordered[-1])


def histogram_of(tokens: Iterable[int]) -> tuple[LengthBin, ...]:
    """Return how many rows have each of some ranges of lengths, of equal width, or growing where lengths differ much."""
    ordered = sorted(tokens)
    longest = ordered[-1]
    bounds = _even_bounds(longest) if longest <= 8 * ordered[len(ordered) // 2] else _growing_bounds(longest)
    bins, start, place = [], 0, 0
    for bound in bounds:
        begun = place
        while place < len(ordered) and ordered[place] <= bound:
            place += 1
        bins.append(LengthBin(from_tokens=start, to_tokens=bound, rows=place - begun))
        start = bound + 1
    first = next(number for number, one in enumerate(bins) if one.rows)
    return tuple(bins[first:])


def _even_bounds(longest: int) -> list[int]:
    width = _round_up(max(1, ceil(longest / (_MOST_BINS - 4))))
    return [width * number for number in range(1, ceil(longest / width) + 1)]


def _growing_bounds(longest: int) -> list[int]:
    """Return bounds that double every second bin; of the longest rows there are at most a few bins."""
    last = ceil(log2(longest) * _PARTS_OF_A_DOUBLING)
    first = max(0, last - _MOST_BINS + 1)
    bounds = {ceil(2 ** (power / _PARTS_OF_A_DOUBLING)) for power in range(first, last + 1)}
    return sorted(bounds)


def _round_up(width: int) -> int:
    """Return the next of 1, 2, 5, 10, 20, 50 and so on, which people read more easily."""
    unit = 1
    while True:
        for step in (1, 2, 5):
            if unit * step >= width:
                return unit * step
        unit *= 10
