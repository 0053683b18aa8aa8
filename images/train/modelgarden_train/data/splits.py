"""What rows are for: they are split by prompt, without one on two sides. Pure."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from modelgarden_pod.errors import UserError

_RANGE: Final = 2**256


class Identified(Protocol):
    """A row, or what stands for one."""

    @property
    def digest(self) -> bytes:
        """Identity of the row."""
        ...

    @property
    def prompt_digest(self) -> bytes:
        """Identity of its prompt."""
        ...


Entry = TypeVar("Entry", bound=Identified)


@dataclass(frozen=True)
class Shares:
    """Shares of the distinct prompts that are held out."""

    validation: float
    test: float = 0.0


@dataclass(frozen=True)
class Splits(Generic[Entry]):
    """Rows by what they are for."""

    training: list[Entry]
    """In their order."""
    validation: list[Entry]
    """In the order of their prompts' hashes, so that the first of them are a sample."""
    test: list[Entry]
    """In the same order; empty where none is asked for."""


def split_rows(rows: Sequence[Entry], *, shares: Shares, seed: int, dropped: str = "none") -> Splits[Entry]:
    """Return the rows by what they are for; all rows of a prompt are in one split, whatever the order of the file.

    The SHA-256 of seed and prompt decides, and nothing else: where it is among the lowest of all hashes the prompt is for
    validation, among the highest for the test. So rows that come or go move no other, and another share of one split
    changes nothing of the other. Only where a split that is asked for would be empty, as in a dataset of a few prompts,
    does it take the prompt that is nearest to it.

    Raises:
        UserError: DatasetInvalid, there are fewer distinct prompts than splits; it tells what was dropped before.
    """
    places = {prompt: _place(prompt, seed) for prompt in {row.prompt_digest for row in rows}}
    ordered = sorted(places, key=places.__getitem__)
    if len(ordered) < 1 + (shares.validation > 0) + (shares.test > 0):
        raise UserError("DatasetInvalid", _too_few(shares, dropped))
    low, high = _counts([places[prompt] for prompt in ordered], shares)
    validation, test = set(ordered[:low]), set(ordered[len(ordered) - high :])
    held_out = validation | test

    def of(prompts: set[bytes]) -> list[Entry]:
        return sampled([row for row in rows if row.prompt_digest in prompts], seed=seed)

    training = [row for row in rows if row.prompt_digest not in held_out]
    return Splits(training=training, validation=of(validation), test=of(test))


def sampled(rows: Iterable[Entry], *, seed: int) -> list[Entry]:
    """Return held out rows in the order of their prompts' hashes, so that the first of them are a sample."""
    return sorted(rows, key=lambda row: (_place(row.prompt_digest, seed), row.digest))


def _counts(places: Sequence[int], shares: Shares) -> tuple[int, int]:
    """Return how many of the prompts, in the order of their hashes, are for validation and how many for the test."""
    lowest, highest = int(shares.validation > 0), int(shares.test > 0)
    below = bisect_left(places, int(shares.validation * _RANGE))
    above = len(places) - bisect_left(places, _RANGE - int(shares.test * _RANGE))
    low = min(max(below, lowest), len(places) - 1 - highest)
    return low, min(max(above, highest), len(places) - 1 - low)


def _too_few(shares: Shares, dropped: str) -> str:
    left = f"left, rows dropped: {dropped}"
    if not shares.test:
        return f"the dataset has fewer than two distinct prompts {left}; so none can be held out; add rows"
    number, names = (
        ("three", "training, validation and test") if shares.validation else ("two", "training and test")
    )
    return (
        f"the dataset has fewer than {number} distinct prompts {left}; so there are none for {names}; add rows, or set "
        "dataset.testSplit to 0"
    )


def _place(prompt: bytes, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{prompt.hex()}".encode()).digest(), "big")
