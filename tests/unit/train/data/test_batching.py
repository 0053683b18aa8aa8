"""Batches keep the order and their bound."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from modelgarden_train.data.batching import in_batches


@given(sizes=st.lists(st.integers(0, 50)), most=st.integers(1, 60))
def test_batches_are_as_full_as_may_be(sizes: list[int], most: int) -> None:
    found = list(in_batches(sizes, size=lambda size: size, most=most))

    assert [size for batch in found for size in batch] == sizes
    assert all(len(batch) == 1 or sum(batch) <= most for batch in found)
    assert all(sum(batch) + following[0] > most for batch, following in itertools.pairwise(found))


def test_nothing_is_taken_before_it_is_asked_for() -> None:
    taken: list[int] = []

    def items() -> object:
        for number in range(100):
            taken.append(number)
            yield number

    next(in_batches(items(), size=lambda _: 1, most=3))  # type: ignore[arg-type]

    assert taken == [0, 1, 2, 3]
