"""The prepared dataset: what prepare writes to the run's folder and train reads back, as Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from modelgarden.api.artifact import DatasetReport
from modelgarden.api.documents import TRAIN_IMAGE
from modelgarden.api.layout import DATASET_IMAGES, DATASET_REPORT, DATASET_TRAIN, DATASET_VALIDATION
from modelgarden_pod.documents import read_document
from modelgarden_pod.errors import UserError
from modelgarden_pod.folder import Folder
from modelgarden_pod.storage import read_or_none

_TOKEN_BYTES: Final = 4

Span = tuple[int, int]
"""Where a piece of a row begins and where it has ended, in tokens."""


@dataclass(frozen=True)
class PreparedRow:
    """One row as the model sees it, and as people wrote it."""

    input_ids: list[int]
    """The whole row, as its chat template renders it."""
    spans: tuple[Span, ...]
    """What is learned, in the order of the row: each of the assistant's turns with the token that ends it."""
    question: str
    answer: str
    rejected_ids: list[int] = field(default_factory=list)
    """The worse answer of a preference, after the same prompt; of other rows nothing."""
    label: bool | None = None
    """Whether the answer of a KTO row is good."""
    images: tuple[str, ...] = ()
    """SHA-256 of its images, in their order; each stands in the tokens as often as the model gives it."""

    @property
    def tokens(self) -> int:
        """Tokens that go through the model: of a preference both answers, each with the prompt."""
        return len(self.input_ids) + (self.spans[-1][0] + len(self.rejected_ids) if self.rejected_ids else 0)

    @property
    def prompt_ids(self) -> list[int]:
        """What the model is asked with: all before the last span."""
        return self.input_ids[: self.spans[-1][0]]

    @property
    def reference_ids(self) -> list[int]:
        """What it should answer: the last span."""
        start, end = self.spans[-1]
        return self.input_ids[start:end]

    @property
    def bytes(self) -> int:
        """About what it takes in a file that is not compressed."""
        numbers = len(self.input_ids) + len(self.rejected_ids)
        return _TOKEN_BYTES * numbers + len(self.question) + len(self.answer)

    def to_record(self) -> dict[str, Any]:
        """Return it as plain values, by the columns of a file."""
        return {
            "input_ids": self.input_ids,
            "spans": [bound for span in self.spans for bound in span],
            "question": self.question,
            "answer": self.answer,
            "rejected_ids": self.rejected_ids,
            "label": self.label,
            "images": list(self.images),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read the plain values."""
        bounds = record["spans"]
        return cls(
            input_ids=record["input_ids"],
            spans=tuple(zip(bounds[::2], bounds[1::2], strict=True)),
            question=record["question"],
            answer=record["answer"],
            rejected_ids=record["rejected_ids"],
            label=record["label"],
            images=tuple(record["images"]),
        )


@dataclass(frozen=True)
class PreparedDataset:
    """Report and files of a prepared dataset on this machine."""

    report: DatasetReport
    training: Path
    validation: Path
    """In the order of evaluation."""
    images: Path | None = None
    """The images of all rows, where they have any."""


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
    """Fetch both splits, and the rows' images, held against the report.

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

    return PreparedDataset(
        report=report,
        training=fetch(DATASET_TRAIN),
        validation=fetch(DATASET_VALIDATION),
        images=fetch(DATASET_IMAGES) if DATASET_IMAGES in wanted else None,
    )
