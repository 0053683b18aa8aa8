"""Reads the file of a dataset, JSON Lines, and names what is wrong with its rows. No row stays in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from modelgarden.api.finetunejob import DatasetFormat
from modelgarden_pod.errors import UserError
from modelgarden_train.data.formats import EXAMPLES, detect_format, parse_row
from modelgarden_train.data.lines import parse_line, read_lines
from modelgarden_train.data.rows import Row, RowError

_MOST_PROBLEMS_SHOWN = 3


@dataclass(frozen=True)
class Checked:
    """A file whose rows are all right."""

    path: Path
    rows: int
    format: DatasetFormat

    def read(self) -> Iterator[Row]:
        """Yield the rows."""
        for number, line in read_lines(self.path):
            yield replace(parse_row(parse_line(line), self.format), line=number)


def check_rows(path: Path, format: DatasetFormat) -> Checked:  # noqa: A002 -- the field's name in the API
    """Look at every row of a JSON Lines file.

    Raises:
        UserError: DatasetInvalid, with line, field and an example for the first wrong rows.
    """
    problems: list[str] = []
    rows = wrong = 0
    for number, line in read_lines(path):
        try:
            value = parse_line(line)
            if format == "Auto":
                format = detect_format(value)  # noqa: A001
            parse_row(value, format)
            rows += 1
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
    return Checked(path=path, rows=rows, format=format)
