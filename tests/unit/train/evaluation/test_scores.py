"""Which answers are the reference."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.evaluation.scores import exact_matches, metrics_of, with_rejected

SPECIAL = "<end>"


class Characters:
    """A tokenizer of characters, and of one special token."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text.replace(SPECIAL, "\0")]

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
    tokenizer = Characters()
    ids = tokenizer.encode("2+2?") + tokenizer.encode(completion)
    row = PreparedRow(input_ids=ids, spans=((4, len(ids)),), question="2+2?", answer=answer)

    assert exact_matches(tokenizer, [row], [generated]) == want


def test_rows_that_ask_nothing_have_no_matches() -> None:
    text = PreparedRow(input_ids=[1, 2], spans=((1, 2),), question="", answer="a")
    asked = PreparedRow(input_ids=[1, 2], spans=((1, 2),), question="?", answer="a")

    assert list(metrics_of([text, text])) == ["perplexity"]
    assert list(metrics_of([text, asked])) == ["perplexity", "exactMatch"]


def test_pairs_are_scored_by_what_is_preferred_and_not_by_matches() -> None:
    pair = PreparedRow(input_ids=[1, 2, 3], spans=((1, 3),), question="?", answer="a", rejected_ids=[4])

    assert list(metrics_of([pair])) == ["perplexity", "preferenceAccuracy", "preferenceMargin"]
    worse = with_rejected(pair)
    assert (worse.prompt_ids, worse.reference_ids, worse.rejected_ids) == ([1], [4], [])


@pytest.mark.parametrize(
    ("labels", "want"),
    [
        ([True, False], ["perplexity", "preferenceMargin"]),
        ([True, True], ["perplexity"]),
        ([False], []),
    ],
)
def test_answers_with_labels_are_scored_by_what_there_is_of_both(labels: list[bool], want: list[str]) -> None:
    rows = [
        PreparedRow(input_ids=[1, 2], spans=((1, 2),), question="?", answer="a", label=label)
        for label in labels
    ]

    assert list(metrics_of(rows)) == want
