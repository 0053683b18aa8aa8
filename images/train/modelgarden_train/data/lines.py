"""The lines of a JSON Lines file, one in memory at a time, and each a JSON object or what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

from modelgarden_train.data.rows import RowError

LONGEST_ROW_BYTES: Final = 4 * 1024**2
"""Of a row in its file: about as much text as the largest training.maxSequenceLength, a million tokens."""
_MOST_DIGITS: Final = 4300
"""Of an integer: Python converts no longer ones."""
_SKIPPED_BYTES: Final = 1024**2


def read_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines that are not blank with their numbers; None for one that is too long, which is not read."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_ROW_BYTES + 1):
            number += 1
            if len(line) > LONGEST_ROW_BYTES and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = file.readline(_SKIPPED_BYTES)
                yield number, None
            elif line.strip():
                yield number, line


def parse_line(line: bytes | None) -> dict[str, Any]:
    """Return the JSON object of a line.

    Raises:
        RowError: it is none, or too long, too deep or too exact to be taken.
    """
    if line is None:
        raise RowError(f"the row is longer than {LONGEST_ROW_BYTES // 1024**2} MiB; split it or leave it out")
    try:
        value = json.loads(line.decode("utf-8-sig").rstrip("\r\n"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise RowError(f"byte {error.start + 1} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise RowError(f"column {error.colno} is not JSON: {error.msg}") from error
    except RecursionError as error:
        raise RowError("lists or objects are nested too deeply") from error
    except RowError:
        raise
    except ValueError as error:
        raise RowError(f"a number has more than {_MOST_DIGITS} digits; write it as a string") from error
    if not isinstance(value, dict):
        raise RowError(f"a JSON object is expected, found {type_name(value)}")
    return value


def type_name(value: object) -> str:
    """Return the name of a JSON value's type."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _refuse_constant(name: str) -> NoReturn:
    raise RowError(f"{name} is no JSON; write a number, a string or null")
