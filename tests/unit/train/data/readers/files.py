"""Files for the tests of the readers."""

from __future__ import annotations

from pathlib import Path

from modelgarden_train.data.readers import open_file
from modelgarden_train.data.readers.records import Record
from modelgarden_train.data.rows import RowError
from modelgarden_train.data.sources.files import SourceFile


def records_of(content: bytes, name: str, folder: Path) -> list[Record]:
    """Return what a file of this name and content holds."""
    path = folder / name
    path.write_bytes(content)
    return list(open_file(SourceFile(source=0, name=f"s3://data/{name}", path=path)).read())


def told(record: Record) -> object:
    """Return the fields of a record, or what is wrong with it."""
    try:
        return record.fields()
    except RowError as error:
        return str(error)


def read(content: bytes, name: str, folder: Path) -> list[tuple[int, object]]:
    """Return the numbers of a file's records with their fields, or what is wrong with them."""
    return [(record.number, told(record)) for record in records_of(content, name, folder)]
