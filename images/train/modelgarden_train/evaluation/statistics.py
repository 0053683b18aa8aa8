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


def _exp(exponent: float) -> str:
    return f"{math.exp(min(exponent, _LARGEST_EXPONENT)):.6g}"
