"""Conversations as OpenAI writes them, and what holds of a conversation whoever wrote it. Pure."""

from __future__ import annotations

import json
from typing import Any, Final

from modelgarden_train.data.formats.fields import (
    answer_of,
    check_text,
    json_at,
    list_of,
    object_at,
    shown,
    text_of,
    whole_text_of,
)
from modelgarden_train.data.formats.images import content_parts, images_beside, placed
from modelgarden_train.data.formats.tools import tool_calls_at, tools_of
from modelgarden_train.data.rows import EmptyAnswerError, Message, Row, RowError, message_text

ROLES: Final = ("system", "user", "assistant", "tool")
_SAME_ROLE: Final = {"developer": "system", "function": "tool"}
"""Names that OpenAI gave roles later or earlier."""
MOST_MESSAGES: Final = 2000
"""Of a conversation. To find where its answers begin and end its beginnings are rendered again and again."""


def messages_row(value: dict[str, Any]) -> Row:
    """Return a row of the format Messages; its images stand in parts of messages, or beside them in `images`.

    Raises:
        RowError: it is none.
    """
    messages, within = messages_at(list_of(value, "messages"), "messages")
    check_turns(messages, "messages")
    messages, images = placed(messages, within, images_beside(value), "messages")
    return Row(messages, kind="Vision" if images else "Conversation", tools=tools_of(value), images=images)


def messages_at(values: list[Any], at: str) -> tuple[tuple[Message, ...], list[str | None]]:
    """Return a list of messages in the form that templates take, and its images, None for one that stands elsewhere.

    Raises:
        RowError: one is no message.
    """
    require_few(values, at, what="messages")
    images: list[str | None] = []
    messages = tuple(_message(message, f"{at}[{index}]", images) for index, message in enumerate(values))
    return messages, images


def require_few(values: list[Any], at: str, *, what: str) -> None:
    """Hold that a conversation is no longer than templates can be asked to render it.

    Raises:
        RowError: it is.
    """
    if len(values) > MOST_MESSAGES:
        raise RowError(
            f'field "{at}" has {len(values)} {what}; split it into rows of at most {MOST_MESSAGES}'
        )


def check_turns(messages: tuple[Message, ...], at: str) -> None:
    """Hold that a conversation ends with an answer and that the turns before it follow each other.

    Raises:
        RowError: they do not.
    """
    if not messages or messages[-1]["role"] != "assistant":
        raise RowError(f'field "{at}" must end with a message of the role assistant')
    check_prompt_turns(messages[:-1], at)
    if messages[-2]["role"] == "assistant":
        raise _second_answer(at, len(messages) - 1)
    if not message_text(messages[-1]).strip():
        raise EmptyAnswerError(f'field "{at}[{len(messages) - 1}].content" is empty')


def check_prompt_turns(messages: tuple[Message, ...], at: str) -> None:
    """Hold that the turns of a prompt follow each other: it begins with the user, and tools answer the assistant.

    Raises:
        RowError: they do not.
    """
    if not any(message["role"] == "user" for message in messages):
        raise RowError(f'field "{at}" has no message of the role user')
    before = ""
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "assistant" and not before:
            raise RowError(
                f'field "{at}[{index}]" is an answer before any question; begin with the role user'
            )
        if role == "assistant" and before == "assistant":
            raise _second_answer(at, index)
        if role == "tool" and before not in ("assistant", "tool"):
            raise RowError(
                f"field \"{at}[{index}]\" is a tool's result, but no assistant's turn is before it"
            )
        if role != "system":
            before = role


def _second_answer(at: str, index: int) -> RowError:
    return RowError(f'field "{at}[{index}]" is a second answer in a row; join it with the one before it')


def _message(value: Any, at: str, images: list[str | None]) -> Message:
    message = object_at(value, at)
    role = text_of(message, "role", at=f"{at}.")
    role = _SAME_ROLE.get(role, role)
    if role not in ROLES:
        raise RowError(f'field "{at}.role" is {shown(role)}; use one of {", ".join(ROLES)}')
    if role == "tool":
        return _tool_message(message, at)
    calls = message.get("tool_calls")
    if calls is not None and role != "assistant":
        raise RowError(f'field "{at}.tool_calls" is for messages of the role assistant only')
    if calls:
        called = {"tool_calls": tool_calls_at(calls, f"{at}.tool_calls")}
        absent = message.get("content") is None
        return {
            "role": role,
            "content": "" if absent else _content(message, at, images, empty=True),
            **called,
        }
    return {"role": role, "content": _content(message, at, images)}


def _tool_message(message: dict[str, Any], at: str) -> Message:
    """Return a tool's result, which may be a text, empty too, or any JSON value."""
    content = message.get("content")
    if "content" not in message:
        raise RowError(f'field "{at}.content" is missing')
    if not isinstance(content, str):
        content = json.dumps(json_at(content, f"{at}.content"), ensure_ascii=False)
    check_text(content, f'field "{at}.content"')
    names = {
        name: text_of(message, name, at=f"{at}.")
        for name in ("tool_call_id", "name")
        if message.get(name) is not None
    }
    return {"role": "tool", "content": content, **names}


def _content(message: dict[str, Any], at: str, images: list[str | None], *, empty: bool = False) -> Any:
    """Return the content: a text, or where it has images a list of parts."""
    if isinstance(message.get("content"), list):
        parts, found = content_parts(message["content"], f"{at}.content")
        if found:
            if message["role"] != "user":
                raise RowError(f'field "{at}.content" has an image; only messages of the role user may')
            images += found
            return parts
        message = {**message, "content": "".join(part["text"] for part in parts)}
    if empty:
        return whole_text_of(message, "content", at=f"{at}.")
    read = answer_of if message["role"] == "assistant" else text_of
    return read(message, "content", at=f"{at}.")
