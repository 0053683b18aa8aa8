"""Which rows each process takes of a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden_train.parallel.ranks import ALONE, Ranks
from modelgarden_train.parallel.shares import in_shares, shares

WIDTHS = st.lists(st.integers(1, 500), max_size=60)


@given(widths=WIDTHS, count=st.integers(1, 9))
def test_each_row_is_taken_once_and_no_share_is_much_wider_than_another(
    widths: list[int], count: int
) -> None:
    split = shares(widths, count)

    assert len(split) == count
    assert sorted(row for share in split for row in share) == list(range(len(widths)))
    filled = [sum(widths[row] for row in share) for share in split]
    assert max(filled) - min(filled) <= max(widths, default=0), "the last row went to the least one"


def test_one_process_takes_the_rows_as_they_come() -> None:
    assert shares([3, 9, 1], 1) == [[0, 1, 2]]


def test_with_fewer_rows_than_processes_some_take_none() -> None:
    assert shares([5], 3) == [[0], [], []]


class OfTwo(Ranks):
    """One of two processes; what the other one gives is known."""

    def __init__(self, rank: int, other: list[str]) -> None:
        super().__init__(rank, 2)
        self._other = other

    @contextmanager
    def alike(self, *, at: str) -> Iterator[None]:
        yield

    def gather(self, items: list[str], *, at: str) -> list[list[str]]:
        return [items, self._other] if self.first else [self._other, items]


@pytest.mark.parametrize(("rank", "own", "other"), [(1, ["a", "cc"], ["BBB"]), (0, ["bbb"], ["A", "CC"])])
def test_the_results_of_all_come_in_the_order_of_the_items(
    rank: int, own: list[str], other: list[str]
) -> None:
    asked: list[str] = []

    def work(items: Sequence[str]) -> list[str]:
        asked.extend(items)
        return [item.upper() for item in items]

    found = in_shares(["a", "bbb", "cc"], work, width=len, ranks=OfTwo(rank, other))

    assert asked == own
    assert found == ["A", "BBB", "CC"]


def test_alone_one_works_on_all_and_on_nothing_where_there_is_nothing() -> None:
    assert in_shares([2, 1], lambda items: [-item for item in items], width=abs, ranks=ALONE) == [-2, -1]
    assert in_shares([], lambda items: [1 // len(items)], width=abs, ranks=ALONE) == []
