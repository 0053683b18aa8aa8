"""The prepared dataset: what prepare writes to the run's folder and train reads back, as Parquet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol, get_type_hints

from modelgarden.api.artifact import DatasetReport, FileEntry
from modelgarden.api.documents import TRAIN_IMAGE
from modelgarden.api.layout import DATASET_REPORT, DATASET_TRAIN, DATASET_VALIDATION
from modelgarden_pod.documents import read_document
from modelgarden_pod.errors import UserError
from modelgarden_pod.folder import Folder
from modelgarden_pod.storage import read_or_none
from modelgarden_train.data.batching import in_batches

GROUP_CHARACTERS: Final = 16 * 1024**2
"""Text of one row group of a file: what is in memory while it is written."""


@dataclass(frozen=True)
class PreparedRow:
    """One row as the model sees it, and as people wrote it."""

    prompt: str
    """Rendered with the chat template, up to where the answer begins."""
    completion: str
    """The rendered answer with its end-of-turn token."""
    question: str
    answer: str
    tokens: int

    @property
    def characters(self) -> int:
        """Length of all its texts."""
        return len(self.prompt) + len(self.completion) + len(self.question) + len(self.answer)


@dataclass(frozen=True)
class PreparedDataset:
    """Report and files of a prepared dataset on this machine."""

    report: DatasetReport
    training: Path
    validation: Path
    """In the order of evaluation."""


class Split(Protocol):
    """Rows of one split, which need not be in memory."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[PreparedRow]: ...


def digest_of(training: Split, validation: Split) -> str:
    """Return the SHA-256 over the rows of both splits."""
    digest = hashlib.sha256()
    for split in (training, validation):
        digest.update(f"{len(split)}\n".encode())
        for row in split:
            digest.update(json.dumps(asdict(row), ensure_ascii=False, sort_keys=True).encode())
    return digest.hexdigest()


def write_split(folder: Folder, name: str, rows: Split, *, scratch: Path) -> FileEntry:
    """Write one split as Parquet."""
    import pyarrow
    import pyarrow.parquet

    kinds = {str: pyarrow.string(), int: pyarrow.int64()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in get_type_hints(PreparedRow).items()])
    path = scratch / Path(name).name
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in in_batches(rows, size=lambda row: row.characters, most=GROUP_CHARACTERS):
            writer.write_table(pyarrow.Table.from_pylist([asdict(row) for row in batch], schema=schema))
    return folder.upload(path, name)


def read_report(folder: Folder) -> DatasetReport | None:
    """Return the report of the run, None while prepare has not finished.

    Raises:
        UserError: UpgradeNeeded, a newer version wrote it; ArtifactInvalid, it is damaged.
    """
    body = read_or_none(folder, DATASET_REPORT)
    if body is None:
        return None
    return read_document(DatasetReport, body, where=f"{folder.uri}/{DATASET_REPORT}", reader=TRAIN_IMAGE)


def fetch_prepared(folder: Folder, *, scratch: Path) -> PreparedDataset:
    """Fetch both splits, held against the report.

    Raises:
        UserError: DatasetNotFound, prepare has not run; ArtifactInvalid, a file is not the recorded one.
        TemporaryError: storage does not answer.
    """
    report = read_report(folder)
    if report is None:
        raise UserError("DatasetNotFound", f"{folder.uri} has no prepared dataset; run prepare first")
    wanted = {entry.path: entry.sha256 for entry in report.files}

    def fetch(name: str) -> Path:
        path = scratch / Path(name).name
        folder.download(name, path, sha256=wanted[name])
        return path

    return PreparedDataset(report=report, training=fetch(DATASET_TRAIN), validation=fetch(DATASET_VALIDATION))


def read_split(path: Path) -> tuple[PreparedRow, ...]:
    """Return the rows of one split."""
    import pyarrow.parquet

    return tuple(PreparedRow(**row) for row in pyarrow.parquet.read_table(path).to_pylist())
