"""Which rows each process takes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from modelgarden_train.parallel.ranks import Ranks

Item = TypeVar("Item")
Result = TypeVar("Result")


def shares(widths: Sequence[int], count: int) -> list[list[int]]:
    """Split rows of some widths into so many shares of about one width, each in the order of the rows.

    Each row, the widest first, goes to the share with the least so far (Graham's LPT rule). A share may be empty.
    """
    split: list[list[int]] = [[] for _ in range(count)]
    filled = [0] * count
    for row in sorted(range(len(widths)), key=lambda row: -widths[row]):
        least = min(range(count), key=filled.__getitem__)
        split[least].append(row)
        filled[least] += widths[row]
    return [sorted(share) for share in split]


def in_shares(
    items: Sequence[Item],
    work: Callable[[Sequence[Item]], Sequence[Result]],
    *,
    width: Callable[[Item], int],
    ranks: Ranks,
) -> list[Result]:
    """Have each process work on its share of the items; return the results of all by item, in each process.

    Raises:
        torch.OutOfMemoryError: in each process, where it is so in one of them.
        PeerLost: another process does not answer.
    """
    split = shares(list(map(width, items)), ranks.size)
    own = [items[place] for place in split[ranks.rank]]
    with ranks.alike(at="shares"):
        done = list(work(own)) if own else []
    results = dict(zip(chain(*split), chain(*ranks.gather(done, at="results")), strict=True))
    return [results[place] for place in range(len(items))]
