"""Pairs of answers, and what they take of a pass."""

from __future__ import annotations

from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.objectives.pairs import Pairs, chosen_tokens, pair

ROW = PreparedRow(input_ids=[1, 2, 3, 4], spans=((2, 4),), question="?", answer="a", rejected_ids=[5, 6, 7])


def test_a_pair_is_the_prompt_and_both_answers() -> None:
    assert pair(ROW) == {"prompt_ids": [1, 2], "chosen_ids": [3, 4], "rejected_ids": [5, 6, 7]}


def test_a_pair_counts_its_own_tokens_and_pays_for_two_of_the_longer() -> None:
    form = Pairs(pad_token=0)

    assert form.tokens(pair(ROW)) == ROW.tokens == 4 + 5
    assert form.width(pair(ROW)) == 2 * 5
    assert form.weight([pair(ROW)] * 3) == 3
    assert chosen_tokens([pair(ROW)] * 3) == 6
