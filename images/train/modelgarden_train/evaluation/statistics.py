"""From what was counted and measured to scores, and how sure they are. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from modelgarden.api.evaluation import Interval, Score

FEWEST_ROWS: Final = 30
"""With fewer rows the normal approximation of an interval promises more than it holds."""
_Z: Final = 1.959964
"""Of the normal distribution, for 95 %."""
_LARGEST_EXPONENT: Final = 700.0
"""exp of more is no float."""


def share(count: int, of: int) -> Score:
    """Return the score of so many rows out of all."""
    return Score(value=f"{count / of:.4f}", numerator=count, denominator=of)


def perplexity(losses: Sequence[Sequence[float]]) -> Score:
    """Return the perplexity of rows by the negative log-likelihoods of their tokens.

    The mean per token is a ratio of two sums over rows, and rows, not tokens, were drawn: its variance is that of a
    ratio estimator (Cochran, Sampling Techniques, 3rd edition, 6.4), taken to the perplexity's own scale by exp.
    """
    sums, tokens = [math.fsum(row) for row in losses], [len(row) for row in losses]
    mean, rows = math.fsum(sums) / sum(tokens), len(losses)
    interval = None
    if rows >= FEWEST_ROWS:
        spread = math.fsum((one - mean * length) ** 2 for one, length in zip(sums, tokens, strict=True))
        error = math.sqrt(rows / (rows - 1) * spread) / sum(tokens)
        interval = Interval(low=_exp(mean - _Z * error), high=_exp(mean + _Z * error))
    return Score(value=_exp(mean), interval=interval)


def mean(values: Sequence[float]) -> Score:
    """Return the mean of what was measured of each row."""
    return _around(*_mean_and_variance(values), fewest=len(values))


def difference(values: Sequence[float], others: Sequence[float]) -> Score:
    """Return how far the mean of some rows lies above that of others; the variance of both means is the sum of theirs."""
    mean, variance = _mean_and_variance(values)
    other, more = _mean_and_variance(others)
    return _around(mean - other, variance + more, fewest=min(len(values), len(others)))


def _mean_and_variance(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean of values and the variance of that mean."""
    rows = len(values)
    mean = math.fsum(values) / rows
    spread = math.fsum((value - mean) ** 2 for value in values)
    return mean, spread / max(1, rows - 1) / rows


def _around(value: float, variance: float, *, fewest: int) -> Score:
    interval = None
    if fewest >= FEWEST_ROWS:
        half = _Z * math.sqrt(variance)
        interval = Interval(low=_number(value - half), high=_number(value + half))
    return Score(value=_number(value), interval=interval)


def _number(value: float) -> str:
    return f"{value:.6g}"


def _exp(exponent: float) -> str:
    return f"{math.exp(min(exponent, _LARGEST_EXPONENT)):.6g}"
