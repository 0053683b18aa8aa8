"""Prompts: how they are put into batches, and how long their answers may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelgarden_train.models.batches import batches
from modelgarden_train.models.generation import answer_limit


def test_a_long_prompt_leaves_the_room_of_a_short_one_alone() -> None:
    lengths = [500, 20]
    limits = [answer_limit(length, wanted=64, positions=512) for length in lengths]

    assert limits == [12, 64]
    assert list(batches(lengths, size=128, limits=limits)) == [[1], [0]]


def test_an_answer_has_one_token_at_least_and_no_limit_without_positions() -> None:
    assert answer_limit(512, wanted=64, positions=512) == 1
    assert answer_limit(10_000, wanted=64, positions=None) == 64


@given(
    lengths=st.lists(st.integers(1, 600), max_size=60), size=st.integers(1, 8), positions=st.integers(1, 600)
)
def test_every_row_is_in_one_batch_with_rows_of_its_own_limit(
    lengths: list[int], size: int, positions: int
) -> None:
    limits = [answer_limit(length, wanted=64, positions=positions) for length in lengths]

    found = list(batches(lengths, size=size, limits=limits))

    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    for batch in found:
        assert 1 <= len(batch) <= size
        assert len({limits[row] for row in batch}) == 1
    in_order = [lengths[row] for batch in found for row in batch]
    assert in_order == sorted(in_order)
