"""Preferences as tokens: both answers after one prompt."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden_train.data.chat import Encoded
from modelgarden_train.data.formats import parse_row
from modelgarden_train.data.pairs import encode_rows
from modelgarden_train.data.rows import Row, RowError
from tests.unit.train.data.test_chat import ROW, StandIn


def preference(chosen: str, rejected: str) -> Row:
    return parse_row({"prompt": "2+2?", "chosen": chosen, "rejected": rejected}, "Preference")


def encoded_pair(row: Row, **tokenizer: Any) -> Encoded | RowError:
    """Return the row as tokens, among others."""
    _, found, _ = encode_rows(StandIn(**tokenizer), [ROW, row, ROW])
    return found


@pytest.mark.parametrize("chosen", ["4", "\n4"])
def test_both_answers_follow_the_same_prompt(chosen: str) -> None:
    """Also where the better one shares a token with the prompt, and the worse one does not."""
    found = encoded_pair(preference(chosen, "twenty"), header="\n")

    assert isinstance(found, Encoded)
    ((start, end),) = found.spans
    assert "".join(map(chr, found.ids[:start])) == "[user]2+2?<end>[assistant]\n"
    assert "".join(map(chr, found.ids[start:end])) == f"{chosen}<end>"
    assert "".join(map(chr, found.rejected_ids)) == "twenty<end>"
    assert found.longest == start + len("twenty<end>")


def test_of_a_conversation_only_the_last_answer_is_preferred() -> None:
    turns = [("user", "a"), ("assistant", "b"), ("user", "c")]
    prompt = [{"role": role, "content": text} for role, text in turns]
    row = parse_row({"prompt": prompt, "chosen": "good", "rejected": "bad"}, "Preference")

    found = encoded_pair(row)

    assert isinstance(found, Encoded)
    ((start, end),) = found.spans
    assert "".join(map(chr, found.ids[start:end])) == "good<end>"


def test_answers_that_the_template_renders_alike_are_refused() -> None:
    class Trimming(StandIn):
        def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
            trimmed = [{**message, "content": message["content"].strip()} for message in messages]
            return super().apply_chat_template(trimmed, **options)

    (found,) = encode_rows(Trimming(), [preference("4", " 4 ")])

    assert isinstance(found, RowError)
    assert "renders both answers alike" in str(found)


def test_what_is_wrong_with_the_worse_answer_is_said_of_it() -> None:
    class Choosy(StandIn):
        def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
            if "bad" in messages[-1]["content"]:
                raise ValueError("no bad words")
            return super().apply_chat_template(messages, **options)

    found = encode_rows(Choosy(), [preference("good", "bad")])[0]

    assert isinstance(found, RowError)
    assert str(found).startswith(
        "of the rejected answer: the model's chat template refuses the conversation: no bad"
    )
