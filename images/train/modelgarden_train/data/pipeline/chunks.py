"""The rows of a dataset's files in pieces that are worked on at a time, whatever process does it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from modelgarden.api.finetunejob import DatasetFormat
from modelgarden.api.pods import PodSource
from modelgarden_train.data.batching import in_batches
from modelgarden_train.data.formats import detect_format
from modelgarden_train.data.readers import Opened
from modelgarden_train.data.readers.records import Record, Unit
from modelgarden_train.data.rows import RowError

CHUNK_BYTES: Final = 512 * 1024
"""Of rows that are worked on at a time: a tokenizer takes some 300 bytes for each token."""
_ROW_BYTES: Final = 200
"""That a row takes beside its text."""


@dataclass(frozen=True)
class Chunk:
    """Rows that stand one after the other in one file."""

    source: PodSource
    """With the format that was found."""
    number: int
    """Of the source."""
    file: str
    """Name that a row's place is told with; the only file of a dataset needs none."""
    beside: str
    """URI of the folder that the file lies in, where images of its rows are looked for."""
    unit: Unit
    records: list[Record]


class Chunks:
    """The chunks of files in their order; of a source's format that is not named its first right row decides."""

    def __init__(self, files: Sequence[Opened], sources: Sequence[PodSource]) -> None:
        self._files = files
        self._sources = list(sources)

    @property
    def formats(self) -> list[DatasetFormat]:
        """The sources' formats, as far as they have been found."""
        return [source.format for source in self._sources]

    def __iter__(self) -> Iterator[Chunk]:
        """Yield them.

        Raises:
            UserError: DatasetInvalid, a file cannot be read on.
        """
        for opened in self._files:
            number = opened.file.source
            name = opened.file.name if len(self._files) > 1 else ""
            beside = opened.file.name.rpartition("/")[0]
            for records in in_batches(
                opened.read(), size=lambda record: record.size + _ROW_BYTES, most=CHUNK_BYTES
            ):
                self._find_format(number, records)
                yield Chunk(self._sources[number], number, name, beside, opened.unit, records)

    def _find_format(self, number: int, records: Sequence[Record]) -> None:
        source = self._sources[number]
        for record in records:
            if self._sources[number].format != "Auto":
                return
            try:
                found = detect_format(record.fields(), source.columns)
            except RowError:
                continue
            self._sources[number] = source.model_copy(update={"format": found})
