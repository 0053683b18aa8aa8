"""A row's text as a JSON object, or what is wrong with it. Pure."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

from modelgarden_train.data.rows import RowError

LONGEST_ROW_BYTES: Final = 4 * 1024**2
"""Of a row in its file: about as much text as the largest training.maxSequenceLength, a million tokens."""
TOO_LONG: Final = f"the row is longer than {LONGEST_ROW_BYTES // 1024**2} MiB; split it or leave it out"
TOO_DEEP: Final = "lists or objects are nested too deeply"
_MOST_DIGITS: Final = 4300
"""Of an integer: Python converts no longer ones."""
_LONGEST_KEY_SHOWN: Final = 40


def parse_object(text: bytes) -> dict[str, Any]:
    """Return the JSON object that a text is.

    Raises:
        RowError: it is none, or too deep or too exact to be taken, or names a field twice.
    """
    try:
        value = json.loads(
            text.decode("utf-8-sig").rstrip("\r\n"),
            parse_constant=_refuse_constant,
            object_pairs_hook=_object_of,
        )
    except UnicodeDecodeError as error:
        raise RowError(f"byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise RowError(f"column {error.colno} is not JSON: {error.msg}") from error
    except RecursionError as error:
        raise RowError(TOO_DEEP) from error
    except RowError:
        raise
    except ValueError as error:
        raise RowError(f"a number has more than {_MOST_DIGITS} digits; write it as a string") from error
    if not isinstance(value, dict):
        raise RowError(f"a JSON object is expected, found {type_name(value)}")
    return value


def type_name(value: object) -> str:
    """Return the name of a value's type; those that JSON does not have are Parquet's."""
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        type(None): "null",
        bytes: "bytes",
    }
    return names.get(type(value), "a number")


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise RowError(f"the field {twice[:_LONGEST_KEY_SHOWN]!a} stands twice in an object; remove one")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise RowError(f"{name} is no JSON; write a number, a string or null")
