"""What becomes of the rows of a dataset: exact duplicates are dropped, the rest is split by prompt. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from modelgarden_pod.errors import UserError
from modelgarden_train.data.rows import Row


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


def without_duplicates(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows, the first of equal ones only."""
    seen: set[bytes] = set()
    for row in rows:
        digest = row.digest
        if digest not in seen:
            seen.add(digest)
            yield row


def split_rows(rows: Sequence[Entry], *, share: float, seed: int) -> tuple[list[Entry], list[Entry]]:
    """Return training and validation rows; all rows of a prompt are on one side, whatever the order of the file.

    The prompts are ordered by SHA-256 of seed and prompt, and the first `share` of them are held out: at least
    one, and at least one is left for training. Validation rows come in that order.

    Raises:
        UserError: DatasetInvalid, there are fewer than two distinct prompts.
    """
    order = {
        prompt: hashlib.sha256(f"{seed}:{prompt.hex()}".encode()).digest()
        for prompt in {row.prompt_digest for row in rows}
    }
    if len(order) < 2:
        raise UserError(
            "DatasetInvalid",
            "the dataset has fewer than two distinct prompts, so none can be held out; add rows",
        )
    count = min(max(1, round(len(order) * share)), len(order) - 1)
    held_out = set(sorted(order, key=order.__getitem__)[:count])
    training = [row for row in rows if row.prompt_digest not in held_out]
    validation = [row for row in rows if row.prompt_digest in held_out]
    return training, sorted(validation, key=lambda row: (order[row.prompt_digest], row.digest))
