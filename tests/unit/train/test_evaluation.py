"""Held-out rows: how they are put into batches, and which answers are the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden_train.evaluation import answer_limit, batches, exact_matches
from modelgarden_train.prepared import PreparedRow

SPECIAL = "<end>"


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


class Characters:
    """A tokenizer of characters, and of one special token."""

    def __call__(self, texts: Sequence[str], **options: Any) -> dict[str, list[list[int]]]:
        return {"input_ids": [[ord(letter) for letter in text.replace(SPECIAL, "\0")] for text in texts]}

    def batch_decode(self, ids: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        assert skip_special_tokens
        return ["".join(chr(one) for one in row if one) for row in ids]


@pytest.mark.parametrize(
    ("completion", "answer", "generated", "want"),
    [
        pytest.param(f"4{SPECIAL}", "4", "4", 1, id="as it was asked for"),
        pytest.param(f"4{SPECIAL}", "4", "5", 0, id="something else"),
        pytest.param(f" 4 {SPECIAL}\n", " 4 ", "4", 1, id="but for the space around it"),
        pytest.param(
            f"<think>\n\n</think>\n\n4{SPECIAL}\n", "4", "<think>\n\n</think>\n\n4", 1,
            id="as a thinking template renders it",
        ),
        pytest.param(f"<think>\n\n</think>\n\n4{SPECIAL}\n", "4", "4", 1, id="without the template's thoughts"),
        pytest.param(
            f"<think>\n\n</think>\n\n4{SPECIAL}\n", "4", "<think>\nIt is 4.\n</think>\n\n5", 0,
            id="with thoughts and a wrong end",
        ),
    ],
)  # fmt: skip
def test_an_answer_is_right_as_people_or_as_the_template_write_it(
    completion: str, answer: str, generated: str, want: int
) -> None:
    row = PreparedRow(prompt="2+2?", completion=completion, question="2+2?", answer=answer, tokens=9)

    assert exact_matches(Characters(), [row], [generated]) == want
