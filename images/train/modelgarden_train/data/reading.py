"""Reads the file of a dataset, JSON Lines, and names what is wrong with its rows."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelgarden.api.finetunejob import DatasetFormat
from modelgarden_pod.errors import UserError
from modelgarden_train.data.formats import EXAMPLES, RowError, detect_format, parse_row, type_name
from modelgarden_train.data.rows import Row

_MOST_PROBLEMS_SHOWN = 3


@dataclass(frozen=True)
class Parsed:
    """All rows of a file and the format that they have."""

    rows: tuple[Row, ...]
    format: DatasetFormat


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
        example = "" if format == "Auto" else f". A row looks like {EXAMPLES[format]}"
        raise UserError("DatasetInvalid", f"{count} wrong: {'; '.join(problems)}{rest}{example}")
    if not rows:
        raise UserError(
            "DatasetInvalid", "the dataset has no rows; upload a JSON Lines file with at least two"
        )
    return Parsed(rows=tuple(rows), format=format)


def _parse_line(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8-sig").rstrip("\r\n"))
    except UnicodeDecodeError as error:
        raise RowError(f"byte {error.start + 1} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise RowError(f"column {error.colno} is not JSON: {error.msg}") from error
    if not isinstance(value, dict):
        raise RowError(f"a JSON object is expected, found {type_name(value)}")
    return value
