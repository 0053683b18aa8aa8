"""The order of the rows: everything once, like lengths together, the same again for the same seed and epoch."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from modelgarden_train.objectives.order import LengthGroupedSampler, length_grouped


@given(lengths=st.lists(st.integers(1, 300), max_size=400), batch=st.integers(1, 40), seed=st.integers(0, 9))
def test_every_row_comes_once_and_the_slice_that_is_not_full_last(
    lengths: list[int], batch: int, seed: int
) -> None:
    order = length_grouped(lengths, batch=batch, seed=seed, epoch=0)

    assert sorted(order) == list(range(len(lengths)))


def test_batches_hold_like_lengths_in_random_order() -> None:
    chance = random.Random(1)
    lengths = [chance.randint(20, 96) for _ in range(3200)]

    order = length_grouped(lengths, batch=32, seed=1, epoch=0)

    batches = [[lengths[index] for index in order[start : start + 32]] for start in range(0, len(order), 32)]
    padded = sum(max(batch) * len(batch) for batch in batches)
    assert padded < 1.05 * sum(lengths)
    longest = [max(batch) for batch in batches]
    assert longest != sorted(longest)
    assert longest != sorted(longest, reverse=True)


def test_an_epoch_can_be_repeated_and_the_next_is_another() -> None:
    sampler = LengthGroupedSampler(list(range(1, 200)), batch=8, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)

    assert list(sampler) == first
    assert second != first
    assert len(sampler) == len(first)
