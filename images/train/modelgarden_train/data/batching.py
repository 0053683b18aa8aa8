"""Batches of bounded size, whatever the sizes of what is in them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def in_batches(items: Iterable[T], *, size: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Yield the items in their order, each time as many as are no larger than `most` together, but one at least."""
    batch: list[T] = []
    filled = 0
    for item in items:
        own = size(item)
        if batch and filled + own > most:
            yield batch
            batch, filled = [], 0
        batch.append(item)
        filled += own
    if batch:
        yield batch
