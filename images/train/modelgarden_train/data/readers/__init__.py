"""Reads the files of a dataset row by row, whatever they are: JSON Lines, JSON, CSV, Parquet, as they are or compressed.

Memory is bounded whatever a file holds: a row in memory has at most LONGEST_ROW_BYTES.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from modelgarden_train.data.readers.containers import HEAD_BYTES, Container, container_of
from modelgarden_train.data.readers.elements import read_elements
from modelgarden_train.data.readers.lines import read_lines
from modelgarden_train.data.readers.parquet import read_parquet
from modelgarden_train.data.readers.records import Record, Unit
from modelgarden_train.data.readers.streams import open_stream
from modelgarden_train.data.readers.tables import read_table
from modelgarden_train.data.sources.files import SourceFile

_UNITS: Final[dict[Container, Unit]] = {
    "JSON Lines": "line",
    "JSON": "element",
    "CSV": "line",
    "Parquet": "row",
}


@dataclass(frozen=True)
class Opened:
    """A file whose container is known."""

    file: SourceFile
    container: Container

    @property
    def unit(self) -> Unit:
        """What its rows are counted in."""
        return _UNITS[self.container]

    def read(self) -> Iterator[Record]:
        """Yield the rows in their order.

        Raises:
            UserError: DatasetInvalid, the file cannot be read on.
        """
        path, name = self.file.path, self.file.name
        if self.container == "Parquet":
            yield from _read_parquet(path, name)
            return
        with open_stream(path, name) as stream:
            if self.container == "CSV":
                yield from read_table(stream, name)
            elif self.container == "JSON":
                yield from read_elements(stream, name)
            else:
                yield from read_lines(stream)


def open_file(file: SourceFile) -> Opened:
    """Look at what a file is.

    Raises:
        UserError: DatasetInvalid, it is nothing that can be read.
    """
    with open_stream(file.path, file.name) as stream:
        return Opened(file, container_of(file.name, stream.read(HEAD_BYTES)))


def _read_parquet(path: Path, name: str) -> Iterator[Record]:
    """Yield the rows of a Parquet file; one that is compressed as a whole is unpacked beside itself first."""
    with path.open("rb") as file:
        plain = file.read(4) == b"PAR1"
    if plain:
        yield from read_parquet(path, name)
        return
    with TemporaryDirectory(dir=path.parent) as folder:
        unpacked = Path(folder) / "rows.parquet"
        with open_stream(path, name) as stream, unpacked.open("wb") as target:
            shutil.copyfileobj(stream, target)
        yield from read_parquet(unpacked, name)
