"""Where the answers of a conversation stand in its rendering, with templates that do all sorts of things."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from modelgarden_train.data import turns
from modelgarden_train.data.formats import parse_row
from modelgarden_train.data.rows import Message, Row, RowError
from modelgarden_train.data.turns import MOST_EARLIER_TURNS, Rendered, Turns

Template = Callable[..., str]
SPECIAL = ("<end>", "<stop>")
TOOL = {"name": "weather"}
CALL = {"name": "weather", "arguments": {"city": "Rome"}}


@dataclass
class Tokenizer:
    """The part of a tokenizer that rendering needs, around a template."""

    template: Template
    eos_token: str = "<stop>"
    added_tokens_decoder: dict[int, SimpleNamespace] = field(
        default_factory=lambda: {
            number: SimpleNamespace(content=token, special=True) for number, token in enumerate(SPECIAL)
        }
    )

    def apply_chat_template(self, messages: list[Message], *, tokenize: bool, **options: Any) -> str:
        assert not tokenize
        return self.template(messages, **options)


def turn(message: Message) -> str:
    return f"[{message['role']}]{message['content']}<end>"


def plain(messages: list[Message], *, add_generation_prompt: bool, **options: Any) -> str:
    """A template that only appends."""
    return "".join(map(turn, messages)) + ("[assistant]" if add_generation_prompt else "")


def twice_ended(messages: list[Message], *, add_generation_prompt: bool, **options: Any) -> str:
    """As that of Phi-3: what ends a conversation is another token than what ends a turn."""
    text = "".join(f"{turn(message)}\n" for message in messages)
    return text + ("[assistant]" if add_generation_prompt else "<stop>")


def forgetful(messages: list[Message], *, add_generation_prompt: bool, **options: Any) -> str:
    """As that of Qwen3: the last answer has a thought, the others have none."""
    thinking = [
        {**message, "content": f"(thought){message['content']}"}
        if place == len(messages) - 1 and message["role"] == "assistant"
        else message
        for place, message in enumerate(messages)
    ]
    return plain(thinking, add_generation_prompt=add_generation_prompt)


def late_system(messages: list[Message], *, add_generation_prompt: bool, **options: Any) -> str:
    """As that of Mistral: the system prompt stands in the user's turn, if that is the last one."""
    *others, last = [message for message in messages if message["role"] != "system"]
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    if last["role"] == "user":
        last = {**last, "content": f"{system}{last['content']}"}
    return plain([*others, last], add_generation_prompt=add_generation_prompt)


def with_tools(
    messages: list[Message], *, add_generation_prompt: bool, tools: list[Any] | None = None, **options: Any
) -> str:
    """A template that shows tools and calls."""
    listed = "".join(f"[tool:{tool['function']['name']}]" for tool in tools or ())
    called = []
    for message in messages:
        calls = "".join(f"call:{call['function']['name']}" for call in message.get("tool_calls", ()))
        called.append({**message, "content": message["content"] + calls})
    return listed + plain(called, add_generation_prompt=add_generation_prompt)


def dated(messages: list[Message], *, add_generation_prompt: bool, strftime_now: Any, **options: Any) -> str:
    """As that of Llama 3.2: today's date stands at the beginning."""
    return str(strftime_now("%d %b %Y")) + plain(messages, add_generation_prompt=add_generation_prompt)


def chat(*turns: tuple[str, str], **fields: Any) -> Row:
    return parse_row(
        {"messages": [{"role": role, "content": text} for role, text in turns], **fields}, "Messages"
    )


TWO = chat(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))
USED = parse_row(
    {
        "messages": [
            {"role": "user", "content": "weather?"},
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "content": "fine"},
            {"role": "assistant", "content": "It is fine."},
        ],
        "tools": [TOOL],
    },
    "Messages",
)


def learned(row: Row, template: Template) -> list[str]:
    found = Turns(Tokenizer(template)).render(row)
    assert isinstance(found, Rendered)
    return [found.text[start:end] for start, end in found.spans]


def text_of(row: Row, template: Template) -> str:
    found = Turns(Tokenizer(template)).render(row)
    assert isinstance(found, Rendered)
    return found.text


def refusal(row: Row, template: Template) -> str:
    found = Turns(Tokenizer(template)).render(row)
    assert isinstance(found, RowError)
    return str(found)


@pytest.mark.parametrize("template", [plain, twice_ended, late_system, dated])
def test_every_answer_is_told(template: Template) -> None:
    assert learned(TWO, template) == ["b<end>", "d<end>"]


def test_a_text_ends_with_its_last_answer() -> None:
    assert text_of(TWO, twice_ended) == "[user]a<end>\n[assistant]b<end>\n[user]c<end>\n[assistant]d<end>"


def test_a_turn_may_end_with_several_special_tokens() -> None:
    """Kimi's template closes a call, then the list of calls, then the turn."""

    def nested(messages: list[Message], **options: Any) -> str:
        return plain(messages, **options).replace("d<end>", "d<stop><end><end>")

    assert learned(TWO, nested) == ["b<end>", "d<stop><end><end>"]


def test_a_thought_may_begin_in_the_prompt() -> None:
    row = chat(("user", "a"), ("assistant", "<think>\nHm\n</think>\n\nb"))

    def thinking(messages: list[Message], *, add_generation_prompt: bool, **options: Any) -> str:
        return plain(messages, add_generation_prompt=add_generation_prompt) + (
            "<think>\n" if add_generation_prompt else ""
        )

    assert learned(row, thinking) == ["Hm\n</think>\n\nb<end>"]


def test_an_earlier_answer_that_is_not_what_its_prompt_was_answered_with_is_not_learned() -> None:
    assert learned(TWO, forgetful) == ["(thought)d<end>"]
    assert text_of(TWO, forgetful) == "[user]a<end>[assistant]b<end>[user]c<end>[assistant](thought)d<end>"


def test_the_text_is_the_prompt_that_serving_asks_with() -> None:
    row = chat(("system", "S:"), ("user", "a"), ("assistant", "b"))

    assert text_of(row, late_system) == "[user]S:a<end>[assistant]b<end>"


def test_an_answer_that_is_written_otherwise_than_after_a_plain_question_is_refused() -> None:
    def reworded(messages: list[Message], **options: Any) -> str:
        if len(messages) == 4:
            return "another text altogether"
        return plain(messages, **options)

    assert "renders a finished conversation differently" in refusal(TWO, reworded)


def test_the_day_is_always_the_same() -> None:
    assert text_of(TWO, dated).startswith("26 Jul 2024[user]")


def test_an_earlier_answer_that_the_template_refuses_as_the_last_is_not_learned() -> None:
    def long_only(messages: list[Message], **options: Any) -> str:
        if len(messages) == 2:
            raise ValueError("too short")
        return plain(messages, **options)

    assert learned(TWO, long_only) == ["d<end>"]


def test_of_a_long_conversation_the_latest_answers_are_learned() -> None:
    turns = [turn for number in range(100) for turn in (("user", "q"), ("assistant", str(number)))]
    found = learned(chat(*turns), plain)

    assert found == [f"{number}<end>" for number in range(99 - MOST_EARLIER_TURNS, 100)]


def test_tools_calls_and_results_that_the_template_shows_are_kept() -> None:
    assert learned(USED, with_tools) == ["call:weather<end>", "It is fine.<end>"]


@pytest.mark.parametrize(
    ("row", "template", "want"),
    [
        (USED, plain, "leaves out the call of weather"),
        (chat(("user", "weather?"), ("assistant", "b"), tools=[TOOL]), plain, "leaves out the tool weather"),
        (
            USED,
            lambda messages, **options: with_tools(
                [one for one in messages if one["role"] != "tool"], **options
            ),
            "leaves out a tool's result",
        ),
        (
            chat(("user", "a"), ("assistant", "b c")),
            lambda messages, **options: plain(messages, **options).replace("b c", "c"),
            "leaves out a part of the answer",
        ),
    ],
)
def test_a_row_that_the_template_shows_in_part_is_refused(row: Row, template: Template, want: str) -> None:
    found = refusal(row, template)

    assert want in found
    assert found.endswith("correct the row, or give another template in dataset.chatTemplate")


def test_space_that_the_template_trims_is_no_part_of_the_answer() -> None:
    row = chat(("user", "a"), ("assistant", "\n b\n\nc "))

    def trimming(messages: list[Message], **options: Any) -> str:
        return plain([{**one, "content": " ".join(one["content"].split())} for one in messages], **options)

    assert learned(row, trimming) == ["b c<end>"]


def test_a_template_that_loops_for_ever_is_a_fault_of_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    def for_ever(messages: list[Message], **options: Any) -> str:
        while messages:
            pass
        return ""

    monkeypatch.setattr(turns, "MOST_SECONDS", 0.05)

    assert Turns(Tokenizer(for_ever)).fault == "it takes more than 0.05 s of CPU time"
