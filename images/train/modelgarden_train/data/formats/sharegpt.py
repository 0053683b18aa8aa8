"""Conversations as ShareGPT writes them: {"conversations": [{"from": "human", "value": ...}, ...]}. Pure."""

from __future__ import annotations

from typing import Any, Final

from modelgarden_train.data.formats.fields import (
    answer_of,
    list_of,
    object_at,
    shown,
    text_of,
    whole_text_of,
)
from modelgarden_train.data.formats.images import MARK, images_beside, marked_parts, placed
from modelgarden_train.data.formats.messages import check_turns, require_few
from modelgarden_train.data.formats.tools import parsed, tool_call_at, tools_of
from modelgarden_train.data.rows import Message, Row, RowError

_ROLES: Final = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "observation": "tool",
}


def sharegpt_row(value: dict[str, Any]) -> Row:
    """Return a row of the format ShareGPT; `system`, `tools` and images may stand beside the conversation.

    In a row with images each <image> in a text of the user stands for one, as in LLaVA's rows.

    Raises:
        RowError: it is none.
    """
    turns = list_of(value, "conversations")
    require_few(turns, "conversations", what="turns")
    messages = tuple(_message(turn, f"conversations[{index}]") for index, turn in enumerate(turns))
    check_turns(messages, "conversations")
    if value.get("system") not in (None, ""):
        messages = ({"role": "system", "content": text_of(value, "system")}, *messages)
    images = images_beside(value)
    if not images:
        return Row(messages, tools=tools_of(value))
    messages = tuple(map(_with_images, messages))
    marks = [None for message in messages for part in _parts(message) if part["type"] == "image"]
    messages, images = placed(messages, marks, images, "conversations")
    return Row(messages, kind="Vision", tools=tools_of(value), images=images)


def _with_images(message: Message) -> Message:
    """Return a message with each mark of an image as a part of its own."""
    if message["role"] != "user" or MARK not in message["content"]:
        return message
    return {**message, "content": marked_parts(message["content"])}


def _parts(message: Message) -> list[dict[str, str]]:
    return message["content"] if isinstance(message["content"], list) else []


def _message(value: Any, at: str) -> Message:
    turn = object_at(value, at)
    if "from" not in turn and "role" in turn:
        raise RowError(
            f'field "{at}" has role and content; read it as Messages: name columns: {{messages: conversations}}'
        )
    speaker = text_of(turn, "from", at=f"{at}.")
    role = _ROLES.get(speaker)
    if role is None:
        raise RowError(f'field "{at}.from" is {shown(speaker)}; use one of {", ".join(_ROLES)}')
    if speaker == "function_call":
        return {"role": role, "content": "", "tool_calls": _calls(turn, f"{at}.value")}
    if role == "assistant":
        return {"role": role, "content": answer_of(turn, "value", at=f"{at}.")}
    read = whole_text_of if role == "tool" else text_of
    return {"role": role, "content": read(turn, "value", at=f"{at}.")}


def _calls(turn: dict[str, Any], at: str) -> list[dict[str, Any]]:
    """Return the call, or the list of calls, that a text holds as JSON."""
    found = turn.get("value")
    if isinstance(found, str):
        found = parsed(found, at)
    calls = found if isinstance(found, list) else [found]
    if not calls:
        raise RowError(f'field "{at}" is empty')
    return [tool_call_at(call, at) for call in calls]
