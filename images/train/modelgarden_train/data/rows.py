"""One example of a dataset, whatever format it came in. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

Message = dict[str, str]


class RowError(ValueError):
    """What is wrong with a row."""


@dataclass(frozen=True)
class Row:
    """One example."""

    messages: tuple[Message, ...]
    """Conversation, the assistant's answer last."""
    line: int = field(default=0, compare=False)
    """Where it stands in the file."""

    @property
    def prompt_messages(self) -> list[Message]:
        """Everything before the answer."""
        return list(self.messages[:-1])

    @property
    def question(self) -> str:
        """The prompt as people write it."""
        asked = [message for message in self.messages[:-1] if message["role"] != "system"]
        if len(asked) == 1:
            return asked[0]["content"]
        return "\n".join(f"{message['role']}: {message['content']}" for message in asked)

    @property
    def characters(self) -> int:
        """Length of all its texts."""
        return sum(len(message["content"]) for message in self.messages)

    @property
    def answer(self) -> str:
        """The reference answer."""
        return self.messages[-1]["content"]

    @cached_property
    def prompt_digest(self) -> bytes:
        """Identity of the prompt: a SHA-256."""
        return _digest(self.messages[:-1])

    @cached_property
    def digest(self) -> bytes:
        """Identity of the row: a SHA-256."""
        return _digest(self.messages)


def _digest(messages: Sequence[Message]) -> bytes:
    canonical = json.dumps(messages, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).digest()
