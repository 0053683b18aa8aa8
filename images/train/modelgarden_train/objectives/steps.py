"""How many optimizer steps a training takes. Pure."""

from __future__ import annotations

import math


def total_steps(rows: int, *, effective_batch: int, epochs: int) -> int:
    """Return the optimizer steps of a run; the last batch of an epoch may be smaller."""
    return math.ceil(rows / effective_batch) * epochs


def warmup_steps(steps: int, ratio: float) -> int:
    """Return the steps with a rising learning rate."""
    return math.ceil(steps * ratio)
