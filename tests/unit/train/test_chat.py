"""Rendering with a chat template, tried on a tokenizer that only renders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from modelgarden_pod.errors import UserError
from modelgarden_train.chat import PLAIN_TEMPLATE, complete_tokenizer, render, stop_token_ids
from modelgarden_train.dataset import parse_row

ROW = parse_row({"prompt": "2+2?", "completion": "4"}, "PromptCompletion")


@dataclass
class Token:
    special: bool


@dataclass
class StandIn:
    """The part of a tokenizer that rendering needs."""

    chat_template: str | None = "set"
    eos_token: str | None = "<end>"
    pad_token: str | None = None
    unk_token: str | None = None
    eos_token_id: int = 2
    appends: bool = True
    added_tokens_decoder: dict[int, Token] = field(
        default_factory=lambda: {2: Token(special=True), 9: Token(special=True), 5: Token(special=False)}
    )

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
        turns = [f"[{message['role']}]{message['content']}<end>" for message in messages]
        if not self.appends and not options["add_generation_prompt"]:
            turns.insert(0, "[finished]")
        return "".join(turns) + ("[assistant]" if options["add_generation_prompt"] else "")


def test_prompt_and_completion_are_cut_where_the_answer_begins() -> None:
    rendered = render(StandIn(), ROW)

    assert rendered.prompt == "[user]2+2?<end>[assistant]"
    assert rendered.completion == "4<end>"


def test_a_template_that_rewrites_what_was_said_is_refused() -> None:
    with pytest.raises(UserError, match="renders a finished conversation differently"):
        render(StandIn(appends=False), ROW)


def test_a_base_model_without_a_template_gets_the_plain_one() -> None:
    tokenizer = StandIn(chat_template=None)

    assert complete_tokenizer(tokenizer)
    assert tokenizer.chat_template == PLAIN_TEMPLATE
    assert not complete_tokenizer(tokenizer)


def test_padding_falls_back_on_another_token() -> None:
    tokenizer = StandIn(unk_token="<unk>")
    complete_tokenizer(tokenizer)
    assert tokenizer.pad_token == "<unk>"


def test_a_tokenizer_without_an_end_is_refused() -> None:
    with pytest.raises(UserError, match="no eos_token"):
        complete_tokenizer(StandIn(eos_token=None))


def test_answers_stop_at_the_eos_and_at_the_templates_end_of_turn() -> None:
    assert stop_token_ids(StandIn(), [[7, 8, 9, 5], [7, 9]]) == [2, 9]
    assert stop_token_ids(StandIn(), [[7, 5]]) == [2]
