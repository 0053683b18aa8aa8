"""How often each row of a weighted source is in an epoch. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Final, Protocol, TypeVar

_RANGE: Final = 2**64


class OfSource(Protocol):
    """A row, or what stands for one."""

    @property
    def digest(self) -> bytes:
        """Identity of the row."""
        ...

    @property
    def source(self) -> int:
        """Which of the dataset's sources it is of."""
        ...


Entry = TypeVar("Entry", bound=OfSource)


def weighted(rows: Iterable[Entry], weights: Sequence[float]) -> Iterator[Entry]:
    """Yield each row as often as its source's weight says.

    Of 2.5 each row comes twice, and a third time where its hash is in the first half of all hashes: which rows these
    are depends on nothing else, so that others that come or go change nothing about them.
    """
    exact = [Fraction(str(weight)) for weight in weights]
    for row in rows:
        weight = exact[row.source]
        whole = int(weight)
        for _ in range(whole + (_hash(row.digest) < (weight - whole) * _RANGE)):
            yield row


def _hash(digest: bytes) -> int:
    """Return a number below _RANGE that tells nothing of the split, which goes by a hash too."""
    return int.from_bytes(hashlib.sha256(b"weight:" + digest).digest()[:8], "big")
