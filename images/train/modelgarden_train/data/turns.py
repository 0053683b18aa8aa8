"""A conversation as the text that the model sees, in training and in serving alike, and where its answers stand in it.

The text is the prompt that serving asks with, generation prompt included, and what the template puts after it for the
answer. An earlier answer is told by rendering the beginnings of the conversation: it is learned where the prompt that
asks for it, and that prompt with it, begin the text; where a template changes what was said (Qwen3 drops earlier
thoughts, Mistral moves the tools) it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from modelgarden_pod.errors import UserError
from modelgarden_train.data.cpu_limit import at_most
from modelgarden_train.data.rows import Message, Row, RowError, Tool

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_EARLIER_TURNS: Final = 32
"""Answers before the last that are looked for, the latest first: each takes two renderings of all before it."""
MOST_SECONDS: Final = 10.0
"""CPU time for one rendering: a template in a loop would hold the preparation for ever."""
_DAY: Final = datetime(2024, 7, 26, tzinfo=UTC)
"""Given to templates that name today's date (Llama 3 has this one where it can ask for none): the same rows make the
same dataset on any day."""
_HI: Final[list[Message]] = [{"role": "user", "content": "Hi"}]
_PLAINEST: Final[list[Message]] = [*_HI, {"role": "assistant", "content": "Hello"}]

Span = tuple[int, int]


@dataclass(frozen=True)
class Rendered:
    """A conversation as text, up to the end of its last answer."""

    text: str
    spans: tuple[Span, ...]
    """Where an answer begins in the text and where it has ended with its end-of-turn token, in characters."""


class TemplateError(Exception):
    """A template has raised something."""


class Turns:
    """Renders conversations with a tokenizer's chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        special = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
        self._ends = tuple({str(tokenizer.eos_token), *special})
        self._closing = self._closing_token()

    def render(self, row: Row) -> Rendered | RowError:
        """Return a conversation as text, or what the template has against it.

        Raises:
            UserError: ModelInvalid, the template refuses any conversation.
        """
        try:
            prompt = self._apply(row.prompt_messages, row.tools, asks=True)
            completion = self._completion(row, prompt)
        except TemplateError as error:
            return self._refusal(error)
        if completion is None:
            return RowError(
                "the chat template renders a finished conversation differently from the prompt that asks for its "
                "answer, so training would not fit serving; give a template that only appends in dataset.chatTemplate"
            )
        text = prompt + completion
        lost = self._lost_tool(row)
        if lost or _leaves_out(row.messages[-1], completion):
            return RowError(
                f"the chat template leaves out {lost or 'a part of the answer'}; correct the row, or give another "
                "template in dataset.chatTemplate"
            )
        earlier = list(self._earlier(row, text)) if len(row.messages) > 2 else []
        return Rendered(text, (*reversed(earlier), (len(prompt), len(text))))

    def _completion(self, row: Row, prompt: str) -> str | None:
        """Return the answer as the template writes it after the prompt, None where it does not."""
        whole = self._apply(row.messages, row.tools, asks=False)
        if whole.startswith(prompt):
            return self._ended(whole[len(prompt) :])
        # Mistral's gives the system prompt to the last turn of the user, but only while nothing follows it.
        plain = self._apply(_HI, row.tools, asks=True)
        answered = self._apply([*_HI, row.messages[-1]], row.tools, asks=False)
        completion = answered[len(plain) :]
        if not answered.startswith(plain) or not completion or not whole.endswith(completion):
            return None
        return self._ended(completion)

    def _ended(self, completion: str) -> str:
        """Cut an answer behind its end-of-turn token, or add the tokenizer's own where the template has none."""
        cut = self._cut(completion)
        return f"{completion}{self._tokenizer.eos_token}" if cut is None else cut

    def _cut(self, turn: str) -> str | None:
        """Cut a turn behind the special token that it ends with, None where it ends with none."""
        cut = turn.rstrip()
        if self._closing:
            cut = cut.removesuffix(self._closing).rstrip()
        return cut if cut.endswith(self._ends) else None

    def _closing_token(self) -> str:
        """Return the token behind the end of the last turn that closes the whole conversation, as Phi-3's template has."""
        try:
            whole = self._apply(_PLAINEST, (), asks=False)
            longer = self._apply([*_PLAINEST, *_HI], (), asks=False)
        except TemplateError:
            return ""
        shared = "".join(
            one for one, other in takewhile(lambda pair: pair[0] == pair[1], zip(whole, longer, strict=False))
        )
        turns = max((shared.rfind(token) + len(token) for token in self._ends if token in shared), default=0)
        closing = whole[turns:].strip()
        return closing if closing in self._ends else ""

    def _earlier(self, row: Row, text: str) -> Iterator[Span]:
        """Yield where the answers before the last stand, those that can be told, the latest first."""
        places = [place for place, message in enumerate(row.messages[:-1]) if message["role"] == "assistant"]
        for place in places[: -MOST_EARLIER_TURNS - 1 : -1]:
            try:
                before = self._apply(row.messages[:place], row.tools, asks=True)
                through = self._apply(row.messages[: place + 1], row.tools, asks=False)
            except TemplateError:
                continue
            turn = self._cut(through[len(before) :]) if through.startswith(before) else None
            if turn and text.startswith(before + turn) and not _leaves_out(row.messages[place], turn):
                yield len(before), len(before) + len(turn)

    def _lost_tool(self, row: Row) -> str | None:
        """Return what the template does not show of tools, calls and results, None where it shows all."""
        if not row.tools and not any(
            "tool_calls" in message or message["role"] == "tool" for message in row.messages
        ):
            return None
        messages, tools, marks = _marked(row)
        try:
            text = self._apply(messages, tools, asks=False)
        except TemplateError:  # of a result that it takes apart, which a mark is not
            return None
        return next((what for mark, what in marks.items() if mark not in text), None)

    @property
    def fault(self) -> str | None:
        """What keeps the template from rendering the plainest conversation, None where nothing does."""
        try:
            self._apply(_PLAINEST, (), asks=False)
        except TemplateError as error:
            return str(error)
        return None

    def _refusal(self, error: TemplateError) -> RowError:
        """Return what is wrong with a row that the template does not render.

        Raises:
            UserError: ModelInvalid, it does not render the plainest conversation either.
        """
        if (fault := self.fault) is not None:
            raise UserError("ModelInvalid", f"the chat template fails: {fault}") from error
        return RowError(
            f"the model's chat template refuses the conversation: {error}; correct the row, or give another template in "
            "dataset.chatTemplate"
        )

    def _apply(self, messages: Sequence[Message], tools: Sequence[Tool], *, asks: bool) -> str:
        try:
            with at_most(MOST_SECONDS):
                text: str = self._tokenizer.apply_chat_template(
                    list(messages),
                    tools=list(tools) or None,
                    tokenize=False,
                    add_generation_prompt=asks,
                    strftime_now=_DAY.strftime,
                )
        except Exception as error:  # a template raises what it likes
            raise TemplateError(str(error)) from error
        return text


def _leaves_out(message: Message, turn: str) -> bool:
    """Tell whether a turn lacks the message's text; that a thought begins may stand in the prompt already.

    Space is no matter: templates trim, and set thoughts off with it.
    """
    content = message["content"].strip()
    return content not in turn and _without_space(content.removeprefix("<think>")) not in _without_space(turn)


def _without_space(text: str) -> str:
    return "".join(text.split())


def _marked(row: Row) -> tuple[list[Message], list[Tool], dict[str, str]]:
    """Return a row's messages and tools with a mark in the place of every tool, call and result, and what each marks."""
    marks: dict[str, str] = {}

    def mark(what: str) -> str:
        marks[f"mark{len(marks):05}end"] = what
        return f"mark{len(marks) - 1:05}end"

    def renamed(function: dict[str, Any], what: str) -> dict[str, Any]:
        return {"type": "function", "function": {**function, "name": mark(f"{what} {function['name']}")}}

    messages = []
    for message in row.messages:
        changed = dict(message)
        if message["role"] == "tool":
            changed["content"] = mark("a tool's result")
        if calls := message.get("tool_calls"):
            changed["tool_calls"] = [{**call, **renamed(call["function"], "the call of")} for call in calls]
        messages.append(changed)
    return messages, [renamed(tool["function"], "the tool") for tool in row.tools], marks
