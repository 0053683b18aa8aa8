"""How far two models are apart on the same rows. Pure."""

from __future__ import annotations

from collections.abc import Sequence

Losses = Sequence[Sequence[float]]
"""Negative log-likelihoods of tokens, row by row."""


def mean_difference(wanted: Losses, found: Losses) -> float:
    """Return the mean absolute difference of all values."""
    pairs = [pair for one, other in zip(wanted, found, strict=True) for pair in zip(one, other, strict=True)]
    return sum(abs(one - other) for one, other in pairs) / len(pairs)
