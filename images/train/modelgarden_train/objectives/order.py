"""The order of the training rows: shuffled, but rows of like length share a batch, so that little padding is computed.

Pure. The order depends on seed and epoch alone, so a resumed epoch goes on where it was left.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

POOL_BATCHES = 50
"""Batches that are drawn at random before they are sorted by length; Transformers groups as many."""


def length_grouped(lengths: Sequence[int], *, batch: int, seed: int, epoch: int) -> list[int]:
    """Return the rows' indices: each slice of `batch` has like lengths, the slices come in random order.

    A slice that is not full comes last, as the trainer expects it.
    """
    chance = random.Random(f"{seed}:{epoch}")  # noqa: S311 -- a shuffle, not a secret
    indices = list(range(len(lengths)))
    chance.shuffle(indices)
    pool = POOL_BATCHES * batch
    batches = [
        ordered[start : start + batch]
        for first in range(0, len(indices), pool)
        for ordered in [sorted(indices[first : first + pool], key=lengths.__getitem__)]
        for start in range(0, len(ordered), batch)
    ]
    full = [group for group in batches if len(group) == batch]
    rest = [group for group in batches if len(group) < batch]
    chance.shuffle(full)
    return [index for group in (*full, *rest) for index in group]


class LengthGroupedSampler:
    """Hands the order to PyTorch's DataLoader; the trainer sets the epoch."""

    def __init__(self, lengths: Sequence[int], *, batch: int, seed: int) -> None:
        self._lengths = lengths
        self._batch = batch
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(length_grouped(self._lengths, batch=self._batch, seed=self._seed, epoch=self._epoch))
