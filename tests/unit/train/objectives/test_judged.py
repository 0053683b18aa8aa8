"""Answers with labels, each beside the answer of the row before."""

from __future__ import annotations

from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.objectives.judged import Judged, judged


def make_row(prompt: list[int], answer: list[int], *, label: bool) -> PreparedRow:
    whole = prompt + answer
    return PreparedRow(whole, ((len(prompt), len(whole)),), "?", "!", label=label)


def test_every_answer_stands_beside_another_prompt_once() -> None:
    rows = [
        make_row([1], [2, 3], label=True),
        make_row([4, 5], [6], label=False),
        make_row([7], [8], label=True),
    ]

    assert list(judged(rows)) == [
        {"prompt_ids": [1], "completion_ids": [2, 3], "KL_completion_ids": [8], "label": True},
        {"prompt_ids": [4, 5], "completion_ids": [6], "KL_completion_ids": [2, 3], "label": False},
        {"prompt_ids": [7], "completion_ids": [8], "KL_completion_ids": [6], "label": True},
    ]


def test_a_row_pays_for_the_longer_of_both() -> None:
    form = Judged(pad_token=0)
    _, row = judged([make_row([1], [2, 3, 4], label=True), make_row([5, 6], [7], label=False)])

    assert (form.tokens(row), form.width(row), form.weight([row] * 4)) == (3, 5, 4)
