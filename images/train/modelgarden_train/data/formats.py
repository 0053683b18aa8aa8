"""The formats of a dataset's rows. Pure.

`PromptCompletion` has the string fields prompt and completion, `Messages` a list of role and content that ends with
the assistant's answer. The answer is what is learned; all before it is the prompt.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

from modelgarden.api.finetunejob import DatasetFormat
from modelgarden_train.data.lines import type_name
from modelgarden_train.data.rows import Message, Row, RowError

EXAMPLES: dict[DatasetFormat, str] = {
    "PromptCompletion": '{"prompt": "What is the capital of France?", "completion": "Paris"}',
    "Messages": '{"messages": [{"role": "user", "content": "What is the capital of France?"}, '
    '{"role": "assistant", "content": "Paris"}]}',
}
_ROLES = ("system", "user", "assistant", "tool")
_MOST_SHOWN = 10
"""Fields that are listed, of a row that may have any number of them."""
_LONGEST_SHOWN = 40
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
"""A surrogate without its other half: JSON can name one, UTF-8 and so every tokenizer cannot."""


def detect_format(value: dict[str, Any]) -> DatasetFormat:
    """Return the format of the first row.

    Raises:
        RowError: it has the fields of neither format.
    """
    if "messages" in value:
        return "Messages"
    if "prompt" in value or "completion" in value:
        return "PromptCompletion"
    shown = [_shown(name) for name in islice(value, _MOST_SHOWN)]
    found = ", ".join([*shown, "..."] if len(value) > _MOST_SHOWN else shown) or "none"
    raise RowError(
        f"the fields {found} fit no format; use {EXAMPLES['PromptCompletion']} or {EXAMPLES['Messages']}"
    )


def parse_row(value: dict[str, Any], format: DatasetFormat) -> Row:  # noqa: A002
    """Check one row.

    Raises:
        RowError: a field is missing, empty or of the wrong type.
    """
    if format == "Messages":
        return Row(_messages(value))
    return Row(
        (
            {"role": "user", "content": _text(value, "prompt")},
            {"role": "assistant", "content": _text(value, "completion")},
        )
    )


def _text(value: dict[str, Any], field: str, *, at: str = "") -> str:
    name = f'field "{at}{field}"'
    if field not in value:
        raise RowError(f"{name} is missing")
    text = value[field]
    if not isinstance(text, str):
        raise RowError(f"{name} must be a string, found {type_name(text)}")
    if not text.strip():
        raise RowError(f"{name} is empty")
    if half := _HALF_CHARACTER.search(text):
        raise RowError(
            f"{name} has half of a character (\\u{ord(half[0]):04x}) at position {half.start() + 1}; "
            "write both halves or neither"
        )
    return text


def _messages(value: dict[str, Any]) -> tuple[Message, ...]:
    messages = value.get("messages")
    if "messages" not in value:
        raise RowError('field "messages" is missing')
    if not isinstance(messages, list):
        raise RowError(f'field "messages" must be a list, found {type_name(messages)}')
    parsed = []
    for index, message in enumerate(messages):
        at = f"messages[{index}]"
        if not isinstance(message, dict):
            raise RowError(f'field "{at}" must be an object, found {type_name(message)}')
        role = _text(message, "role", at=f"{at}.")
        if role not in _ROLES:
            raise RowError(f'field "{at}.role" is {_shown(role)}; use one of {", ".join(_ROLES)}')
        parsed.append({"role": role, "content": _text(message, "content", at=f"{at}.")})
    if not parsed or parsed[-1]["role"] != "assistant":
        raise RowError('field "messages" must end with a message of the role assistant')
    if not any(message["role"] == "user" for message in parsed):
        raise RowError('field "messages" has no message of the role user')
    return tuple(parsed)


def _shown(text: str) -> str:
    """Return a name of the user's, quoted, and cut where it is no name."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...")
