"""One example of a dataset, whatever format it came in. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

Message = dict[str, Any]
"""As chat templates take it: role and content; of the assistant also tool_calls, of a tool also tool_call_id and name.

The content is a text, or in a row with images a list of parts: {"type": "text", "text": ...} and {"type": "image"}.
"""
Tool = dict[str, Any]
"""A tool that the assistant may call, as OpenAI describes it: {"type": "function", "function": {"name": ...}}."""
Kind = Literal["Conversation", "Text", "Preference", "KTO", "PromptAnswer", "Vision"]
"""What can be learned of a row: an answer, a text, which of two answers is better, whether an answer is good, how to
reach an answer that can be checked, an answer to an image."""


class RowError(ValueError):
    """What is wrong with a row."""

    remedy: ClassVar[str] = ""
    """What to do about it where that is told once for all rows."""


class EmptyAnswerError(RowError):
    """The answer has no text."""

    remedy = "quality.emptyAnswers: Drop leaves rows without an answer out"


class UnansweredError(EmptyAnswerError):
    """Nobody has answered, or the answer is looked for in the wrong place: the rows together tell."""


@dataclass(frozen=True)
class Row:
    """One example."""

    messages: tuple[Message, ...]
    """Conversation, the assistant's answer last. Of a Text the text alone; of a Preference with the better answer."""
    line: int = field(default=0, compare=False)
    """Where it stands in the file."""
    file: str = field(default="", compare=False)
    """Name of the file, where the dataset has several."""
    source: int = field(default=0, compare=False)
    """Which of the dataset's sources it is of."""
    kind: Kind = "Conversation"
    tools: tuple[Tool, ...] = ()
    rejected: Message | None = None
    """The worse answer of a Preference."""
    label: bool | None = None
    """Whether the answer of a KTO row is good."""
    images: tuple[str, ...] = ()
    """In the order of the conversation's image parts: each a path below the folder of the row's file or a data: URL, once
    it was looked at the SHA-256 of its file."""

    @property
    def place(self) -> str:
        """Where it stands, as people look for it."""
        return place_of(self.file, self.line)

    @property
    def prompt_messages(self) -> list[Message]:
        """Everything before the answer."""
        return list(self.messages[:-1])

    @property
    def question(self) -> str:
        """The prompt as people write it; a Text has none."""
        asked = [message for message in self.messages[:-1] if message["role"] != "system"]
        if len(asked) == 1:
            return message_text(asked[0])
        return "\n".join(f"{message['role']}: {message_text(message)}" for message in asked)

    @property
    def answer(self) -> str:
        """The reference answer."""
        return message_text(self.messages[-1])

    @property
    def characters(self) -> int:
        """Length of all its texts."""
        worse = len(message_text(self.rejected)) if self.rejected else 0
        tools = len(canonical(self.tools)) if self.tools else 0
        return sum(len(message_text(message)) for message in self.messages) + worse + tools

    @cached_property
    def prompt_digest(self) -> bytes:
        """Identity of the prompt, of a Text of the text: a SHA-256."""
        prompt = self.messages[:-1] or self.messages
        if self.tools or self.images:
            return _digest([prompt, self.tools, self.images])
        return _digest(prompt)

    @cached_property
    def digest(self) -> bytes:
        """Identity of the row: a SHA-256."""
        if self.kind == "Conversation" and not self.tools:
            return _digest(self.messages)
        return _digest([self.kind, self.messages, self.tools, self.rejected, self.label, self.images])


def place_of(file: str, number: int, unit: str = "line") -> str:
    """Return where a row stands, as people look for it; the only file of a dataset has no name."""
    return f"{file}, {unit} {number}" if file else f"{unit} {number}"


def message_text(message: Message) -> str:
    """Return a message as people read it."""
    content = message["content"]
    if not isinstance(content, str):
        content = "\n".join(part.get("text", "[image]") for part in content)
    if calls := message.get("tool_calls"):
        told = [canonical(call["function"]) for call in calls]
        return "\n".join([content, *told] if content else told)
    return str(content)


def _digest(value: object) -> bytes:
    return hashlib.sha256(canonical(value).encode()).digest()


def canonical(value: object) -> str:
    """Return the only JSON text of a value, for digests."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
