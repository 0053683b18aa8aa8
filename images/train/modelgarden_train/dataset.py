"""Rows of a dataset: parse and check them, drop exact duplicates, split by prompt. Pure but for reading the file.

Two formats: `PromptCompletion` with the string fields prompt and completion, and `Messages` with a list of
role and content that ends with the assistant's answer. The answer is what is learned; all before it is the prompt.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modelgarden.api.finetunejob import DatasetFormat
from modelgarden_pod.errors import UserError

Message = dict[str, str]

_EXAMPLES: dict[DatasetFormat, str] = {
    "PromptCompletion": '{"prompt": "What is the capital of France?", "completion": "Paris"}',
    "Messages": '{"messages": [{"role": "user", "content": "What is the capital of France?"}, '
    '{"role": "assistant", "content": "Paris"}]}',
}
_ROLES = ("system", "user", "assistant", "tool")
_MOST_PROBLEMS_SHOWN = 3
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
"""A surrogate without its other half: JSON can name one, UTF-8 and so every tokenizer cannot."""


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
    def answer(self) -> str:
        """The reference answer."""
        return self.messages[-1]["content"]

    @property
    def prompt_digest(self) -> str:
        """Identity of the prompt."""
        return _digest(self.messages[:-1])

    @property
    def digest(self) -> str:
        """Identity of the row."""
        return _digest(self.messages)


@dataclass(frozen=True)
class Parsed:
    """All rows of a file and the format that they have."""

    rows: tuple[Row, ...]
    format: DatasetFormat


class RowError(ValueError):
    """What is wrong with a row."""


def read_rows(path: Path, format: DatasetFormat) -> Parsed:  # noqa: A002 -- the field's name in the API
    """Parse a JSON Lines file.

    Raises:
        UserError: DatasetInvalid, with line, field and an example for the first wrong rows.
    """
    rows: list[Row] = []
    problems: list[str] = []
    wrong = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                value = _parse_line(line)
                if format == "Auto":
                    format = detect_format(value)  # noqa: A001
                rows.append(replace(parse_row(value, format), line=number))
            except RowError as error:
                wrong += 1
                if len(problems) < _MOST_PROBLEMS_SHOWN:
                    problems.append(f"line {number}: {error}")
    if wrong:
        rest = f"; and {wrong - len(problems)} more" if wrong > len(problems) else ""
        count = "1 row is" if wrong == 1 else f"{wrong} rows are"
        example = "" if format == "Auto" else f". A row looks like {_EXAMPLES[format]}"
        raise UserError("DatasetInvalid", f"{count} wrong: {'; '.join(problems)}{rest}{example}")
    if not rows:
        raise UserError(
            "DatasetInvalid", "the dataset has no rows; upload a JSON Lines file with at least two"
        )
    return Parsed(rows=tuple(rows), format=format)


def detect_format(value: dict[str, Any]) -> DatasetFormat:
    """Return the format of the first row.

    Raises:
        RowError: it has the fields of neither format.
    """
    if "messages" in value:
        return "Messages"
    if "prompt" in value or "completion" in value:
        return "PromptCompletion"
    found = ", ".join(map(repr, value)) or "none"
    raise RowError(
        f"the fields {found} fit no format; use {_EXAMPLES['PromptCompletion']} or {_EXAMPLES['Messages']}"
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


def without_duplicates(rows: Iterable[Row]) -> list[Row]:
    """Return the rows, the first of equal ones only."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.digest, row)
    return list(first.values())


def split_rows(rows: Sequence[Row], *, share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Return training and validation rows; all rows of a prompt are on one side, whatever the order of the file.

    The prompts are ordered by SHA-256 of seed and prompt, and the first `share` of them are held out: at least
    one, and at least one is left for training. Validation rows come in that order.

    Raises:
        UserError: DatasetInvalid, there are fewer than two distinct prompts.
    """
    order = {
        prompt: hashlib.sha256(f"{seed}:{prompt}".encode()).hexdigest()
        for prompt in {row.prompt_digest for row in rows}
    }
    if len(order) < 2:
        raise UserError(
            "DatasetInvalid",
            "the dataset has fewer than two distinct prompts, so none can be held out; add rows",
        )
    count = min(max(1, round(len(order) * share)), len(order) - 1)
    held_out = set(sorted(order, key=order.__getitem__)[:count])
    training = [row for row in rows if row.prompt_digest not in held_out]
    validation = [row for row in rows if row.prompt_digest in held_out]
    return training, sorted(validation, key=lambda row: (order[row.prompt_digest], row.digest))


def _parse_line(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8-sig").rstrip("\r\n"))
    except UnicodeDecodeError as error:
        raise RowError(f"byte {error.start + 1} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise RowError(f"column {error.colno} is not JSON: {error.msg}") from error
    if not isinstance(value, dict):
        raise RowError(f"a JSON object is expected, found {_type_name(value)}")
    return value


def _text(value: dict[str, Any], field: str, *, at: str = "") -> str:
    name = f'field "{at}{field}"'
    if field not in value:
        raise RowError(f"{name} is missing")
    text = value[field]
    if not isinstance(text, str):
        raise RowError(f"{name} must be a string, found {_type_name(text)}")
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
        raise RowError(f'field "messages" must be a list, found {_type_name(messages)}')
    parsed = []
    for index, message in enumerate(messages):
        at = f"messages[{index}]"
        if not isinstance(message, dict):
            raise RowError(f'field "{at}" must be an object, found {_type_name(message)}')
        role = _text(message, "role", at=f"{at}.")
        if role not in _ROLES:
            raise RowError(f'field "{at}.role" is {role!r}; use one of {", ".join(_ROLES)}')
        parsed.append({"role": role, "content": _text(message, "content", at=f"{at}.")})
    if not parsed or parsed[-1]["role"] != "assistant":
        raise RowError('field "messages" must end with a message of the role assistant')
    if not any(message["role"] == "user" for message in parsed):
        raise RowError('field "messages" has no message of the role user')
    return tuple(parsed)


def _type_name(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _digest(messages: Sequence[Message]) -> str:
    canonical = json.dumps(messages, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
