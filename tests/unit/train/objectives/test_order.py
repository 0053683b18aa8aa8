"""The order of the rows: everything once, the same again for the same seed and epoch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelgarden_train.objectives.order import ShuffledSampler, shuffled


@given(rows=st.integers(0, 400), seed=st.integers(0, 9), epoch=st.integers(0, 3))
def test_every_row_comes_once(rows: int, seed: int, epoch: int) -> None:
    assert sorted(shuffled(rows, seed=seed, epoch=epoch)) == list(range(rows))


def test_an_epoch_can_be_repeated_and_the_next_is_another() -> None:
    sampler = ShuffledSampler(199, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)

    assert list(sampler) == first
    assert first != list(range(199))
    assert second != first
    assert list(ShuffledSampler(199, seed=4)) != first
    assert len(sampler) == len(first)
