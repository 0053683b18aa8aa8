"""Reads the files of a dataset, JSON Lines, and names what is wrong with their rows. No row stays in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from modelgarden.api.finetunejob import DatasetFormat
from modelgarden.api.pods import PodSource
from modelgarden_pod.errors import UserError
from modelgarden_train.data.formats import EXAMPLES, detect_format, parse_row
from modelgarden_train.data.lines import parse_line, read_lines
from modelgarden_train.data.rows import Row, RowError, place_of
from modelgarden_train.data.sources.files import SourceFile

_MOST_PROBLEMS_SHOWN = 3


@dataclass(frozen=True)
class Checked:
    """Files whose rows are all right."""

    files: tuple[SourceFile, ...]
    sources: tuple[PodSource, ...]
    """With the formats that were found."""
    rows: int

    def read(self) -> Iterator[Row]:
        """Yield the rows."""
        for file in self.files:
            name, source = _shown_name(file, self.files), self.sources[file.source]
            for number, line in read_lines(file.path):
                row = parse_row(parse_line(line), source.format, source.columns)
                yield replace(row, line=number, file=name, source=file.source)


def check_rows(files: Sequence[SourceFile], sources: Sequence[PodSource]) -> Checked:
    """Look at every row of a dataset's files; of a source's format that is not named its first row decides.

    Raises:
        UserError: DatasetInvalid, with file, line, field and an example for the first wrong rows.
    """
    problems: list[str] = []
    formats: list[DatasetFormat] = [source.format for source in sources]
    rows = wrong = 0
    for file in files:
        name, columns = _shown_name(file, files), sources[file.source].columns
        for number, line in read_lines(file.path):
            try:
                value = parse_line(line)
                if formats[file.source] == "Auto":
                    formats[file.source] = detect_format(value, columns)
                parse_row(value, formats[file.source], columns)
                rows += 1
            except RowError as error:
                wrong += 1
                if len(problems) < _MOST_PROBLEMS_SHOWN:
                    problems.append(f"{place_of(name, number)}: {error}")
    if wrong:
        raise _invalid(wrong, problems, formats)
    if not rows:
        raise UserError(
            "DatasetInvalid", "the dataset has no rows; upload a JSON Lines file with at least two"
        )
    found = (
        source.model_copy(update={"format": name}) for source, name in zip(sources, formats, strict=True)
    )
    return Checked(files=tuple(files), sources=tuple(found), rows=rows)


def _invalid(wrong: int, problems: Sequence[str], formats: Sequence[DatasetFormat]) -> UserError:
    rest = f"; and {wrong - len(problems)} more" if wrong > len(problems) else ""
    count = "1 row is" if wrong == 1 else f"{wrong} rows are"
    known = {name for name in formats if name != "Auto"}
    example = f". A row looks like {EXAMPLES[known.pop()]}" if len(known) == 1 else ""
    return UserError("DatasetInvalid", f"{count} wrong: {'; '.join(problems)}{rest}{example}")


def _shown_name(file: SourceFile, files: Sequence[SourceFile]) -> str:
    """Return the name that a row's place is told with; the only file of a dataset needs none."""
    return file.name if len(files) > 1 else ""
