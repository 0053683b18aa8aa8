"""Batches of rows of like length, worked through within the GPU's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, TypeVar

from modelgarden_train.models.loading import release_memory

Item = TypeVar("Item")


def batches(lengths: Sequence[int], *, size: int, limits: Sequence[int] | None = None) -> Iterator[list[int]]:
    """Yield all rows, those of like length together, and none in one batch with a row of another limit."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for _, rows in groupby(order, key=lambda row: limits[row] if limits else None):
        yield from _chunks(list(rows), size)


def work_through(work: Callable[[list[int]], list[Item]], rows: Iterable[list[int]]) -> list[Item]:
    """Work through the batches and return the results by row; a batch that does not fit the GPU is halved."""
    from torch import OutOfMemoryError

    results: dict[int, Item] = {}
    waiting = list(rows)[::-1]
    while waiting:
        batch = waiting.pop()
        try:
            done = work(batch)
        except OutOfMemoryError:
            if len(batch) == 1:
                raise
            done = None
        if done is None:
            release_memory()
            half = len(batch) // 2
            waiting += [batch[half:], batch[:half]]
            continue
        results.update(zip(batch, done, strict=True))
    return [results[index] for index in range(len(results))]


def padded(sequences: Sequence[Sequence[int]], pad: int, *, left: bool, device: Any) -> tuple[Any, Any]:
    """Return token ids and attention mask, padded on one side."""
    import torch

    width = max(map(len, sequences))
    ids = torch.full((len(sequences), width), pad)
    mask = torch.zeros((len(sequences), width), dtype=torch.long)
    for place, sequence in enumerate(sequences):
        where = slice(width - len(sequence), width) if left else slice(0, len(sequence))
        ids[place, where] = torch.tensor(sequence)
        mask[place, where] = 1
    return ids.to(device), mask.to(device)


def _chunks(items: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
