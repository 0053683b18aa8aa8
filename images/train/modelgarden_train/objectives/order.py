"""The order of the training rows: shuffled anew in each epoch.

It depends on seed and epoch alone, so a resumed epoch goes on where it was left. Rows of like length need not meet:
without padding, any rows share a step at the same cost.
"""

from __future__ import annotations

import random
from collections.abc import Iterator


def shuffled(rows: int, *, seed: int, epoch: int) -> list[int]:
    """Return the indices of all rows in the order of an epoch."""
    order = list(range(rows))
    random.Random(f"{seed}:{epoch}").shuffle(order)  # noqa: S311 -- a shuffle, not a secret
    return order


class ShuffledSampler:
    """Hands the order to PyTorch's DataLoader; the trainer sets the epoch."""

    def __init__(self, rows: int, *, seed: int) -> None:
        self._rows = rows
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[int]:
        return iter(shuffled(self._rows, seed=self._seed, epoch=self._epoch))
