"""The fields of a row, read with their types; what is wrong with one is said with its name. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any, Final, TypeVar

from modelgarden_train.data.rows import EmptyAnswerError, RowError
from modelgarden_train.data.values import type_name

_LONGEST_SHOWN: Final = 40
_MOST_SHOWN: Final = 10
"""Names that are listed, of a row that may have any number of them."""
_PLAIN_NAME: Final = re.compile(r"[^\W\d][\w.-]{0,29}")
"""Others may be content: a table without a header has its first row in their place."""
_DEEPEST: Final = 64
"""Lists and objects in each other, of what a tool takes or gives: no template, and no reader, minds so many."""
_NO_TEXT: Final = re.compile("[\ud800-\udfff\0]")
"""A surrogate without its other half, which JSON can name and UTF-8 and so every tokenizer cannot; and NUL."""

T = TypeVar("T")


def text_of(
    value: dict[str, Any], field: str, *, at: str = "", where_empty: type[RowError] = RowError
) -> str:
    """Return a text that is not empty.

    Raises:
        RowError: it is missing, empty or no text.
    """
    text = whole_text_of(value, field, at=at)
    if not text.strip():
        raise where_empty(f'field "{at}{field}" is empty')
    return text


def answer_of(value: dict[str, Any], field: str, *, at: str = "") -> str:
    """Return the text of an answer.

    Raises:
        EmptyAnswerError: it is empty.
        RowError: it is missing or no text.
    """
    return text_of(value, field, at=at, where_empty=EmptyAnswerError)


def whole_text_of(value: dict[str, Any], field: str, *, at: str = "") -> str:
    """Return a text, which may be empty.

    Raises:
        RowError: it is missing or no text.
    """
    text = required(value, field, at=at)
    name = f'field "{at}{field}"'
    if not isinstance(text, str):
        hint = "; write it in quotes" if type_name(text) in ("a number", "a boolean") else ""
        raise RowError(f"{name} must be a string, found {type_name(text)}{hint}")
    check_text(text, name)
    return text


def check_text(text: str, name: str) -> None:
    """Hold that a text can be written as UTF-8 and tokenized.

    Raises:
        RowError: it has half of a character, or NUL.
    """
    found = _NO_TEXT.search(text)
    if found is None:
        return
    place = found.start() + 1
    if found[0] == "\0":
        raise RowError(f"{name} has a NUL character at position {place}; remove it")
    raise RowError(
        f"{name} has half of a character (\\u{ord(found[0]):04x}) at position {place}; write both halves or neither"
    )


def list_of(value: dict[str, Any], field: str, *, at: str = "") -> list[Any]:
    """Return a list.

    Raises:
        RowError: it is missing or no list.
    """
    found = required(value, field, at=at)
    if not isinstance(found, list):
        raise RowError(f'field "{at}{field}" must be a list, found {type_name(found)}')
    return found


def required(value: dict[str, Any], field: str, *, at: str = "") -> Any:
    """Return a field of any type.

    Raises:
        RowError: it is missing.
    """
    if field not in value:
        raise RowError(f'field "{at}{field}" is missing')
    return value[field]


def object_at(value: Any, at: str) -> dict[str, Any]:
    """Return an object.

    Raises:
        RowError: it is none.
    """
    if not isinstance(value, dict):
        raise RowError(f'field "{at}" must be an object, found {type_name(value)}')
    return value


def json_at(value: T, at: str) -> T:
    """Return a JSON value that can be written again, in a template too.

    Raises:
        RowError: it is nested too deeply, or holds a number that is none or a text that cannot be written.
    """
    _check_json(value, f'field "{at}"', depth=0)
    return value


def _check_json(value: Any, name: str, *, depth: int) -> None:
    if depth > _DEEPEST:
        raise RowError(f"{name} has more than {_DEEPEST} lists and objects in each other")
    if isinstance(value, str):
        check_text(value, name)
    elif isinstance(value, float) and not math.isfinite(value):
        raise RowError(f"{name} has a number that is too large; write it as a string")
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key, name)
            _check_json(item, name, depth=depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_json(item, name, depth=depth + 1)


def listed(names: Collection[str]) -> str:
    """Return the names of a row's fields, those that may be content only counted."""
    plain = [shown(name) for name in names if is_plain(name)]
    other = len(names) - len(plain)
    found = [*plain[:_MOST_SHOWN], *(["..."] if len(plain) > _MOST_SHOWN else [])]
    if other:
        found.append(f"{other} whose {'name looks' if other == 1 else 'names look'} like content")
    return ", ".join(found) or "none"


def is_plain(name: str) -> bool:
    """Tell whether a name looks like that of a field."""
    return _PLAIN_NAME.fullmatch(name) is not None


def shown(text: str) -> str:
    """Return a name of the user's, quoted, and cut where it is no name."""
    return ascii(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...")
