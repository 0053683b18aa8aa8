"""Writes what prepare made into the run's folder: the splits, and a report on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelgarden.api.artifact import DatasetReport, FindingRecord, SourceRecord
from modelgarden.api.finetunejob import DatasetStatus
from modelgarden.api.layout import (
    DATASET_IMAGES,
    DATASET_PAGE,
    DATASET_TEST,
    DATASET_TRAIN,
    DATASET_VALIDATION,
)
from modelgarden_pod.errors import UserError
from modelgarden_train.attempt.run import Run
from modelgarden_train.data.images.archive import write_archive
from modelgarden_train.data.learnable import require_both_labels
from modelgarden_train.data.pipeline import Counts
from modelgarden_train.data.quality.tally import Tally, told
from modelgarden_train.data.report.lengths import histogram_of, lengths_of
from modelgarden_train.data.split_files import Digest, write_split
from modelgarden_train.data.splits import Shares, sampled, split_rows
from modelgarden_train.data.spool import Spool, Spooled, SpooledRows
from modelgarden_train.data.weights import weighted
from modelgarden_train.estimate.model_size import ModelSize
from modelgarden_train.estimate.needs import needs_of
from modelgarden_train.models.base_model import BaseModel

KEPT_IMAGES: Final = "images-kept"
"""Folder of the workspace that the images of rows are kept in, by their SHA-256."""


@dataclass(frozen=True)
class MadeOf:
    """What a run's rows are made of."""

    sources: tuple[SourceRecord, ...]
    model: BaseModel
    size: ModelSize | None
    """Of the model, where it can be told."""


@dataclass(frozen=True)
class Made:
    """Rows that are ready, and what there is to tell of them."""

    spool: Spool
    rows: Sequence[Spooled]
    """Those to train on or to split, as far as they are kept."""
    given: Sequence[Spooled]
    """Those given for validation, likewise."""
    counts: Counts
    tally: Tally
    first_example: str
    of: MadeOf

    @property
    def dropped(self) -> dict[str, int]:
        """Rows dropped, by reason."""
        bad = {"BadRow": self.counts.bad.count} if self.counts.bad.count else {}
        return bad | self.tally.rows("Drop")

    @property
    def findings(self) -> tuple[FindingRecord, ...]:
        """What was found, with places."""
        return (*self.counts.bad.records, *self.tally.records)


@dataclass(frozen=True)
class _Splits:
    training: SpooledRows
    validation: SpooledRows
    test: SpooledRows
    training_lengths: Sequence[int]
    """Tokens of each row."""


@dataclass(frozen=True)
class Written:
    """What was written, and the report that is to be."""

    report: DatasetReport
    training_lengths: Counter[int]
    """How many rows of the training split have each length."""


def write_splits(run: Run, made: Made) -> Written:
    """Split the rows and write the splits' files.

    Raises:
        UserError: DatasetInvalid, too few rows are left for all splits.
    """
    splits = _split(run, made)
    return Written(_report(run, made, splits), Counter(splits.training_lengths))


def _split(run: Run, made: Made) -> _Splits:
    dataset = run.config.dataset
    shares, seed = Shares(dataset.validation_share, dataset.test_split), run.config.training.seed
    splits = split_rows(made.rows, shares=shares, seed=seed, dropped=told(made.dropped))
    validation = sampled(made.given, seed=seed) if made.given else splits.validation
    training = list(weighted(splits.training, [source.weight for source in dataset.sources]))
    if not training:
        raise UserError(
            "DatasetInvalid",
            "the weights in dataset.sources leave no row to train on; raise them, or add rows",
        )
    require_both_labels(row.label for row in training)
    return _Splits(
        training=made.spool.read(training),
        validation=made.spool.read(validation),
        test=made.spool.read(splits.test),
        training_lengths=[row.tokens for row in training],
    )


def _report(run: Run, made: Made, splits: _Splits) -> DatasetReport:
    """Write the splits' files and return the report on them."""
    parts = [(DATASET_TRAIN, splits.training), (DATASET_VALIDATION, splits.validation)]
    if len(splits.test):
        parts.append((DATASET_TEST, splits.test))
    digest = Digest()
    files = tuple(
        write_split(run.folder, name, digest.over(rows), scratch=run.workspace) for name, rows in parts
    )
    if digest.images:
        archive = run.workspace / Path(DATASET_IMAGES).name
        write_archive(run.workspace / KEPT_IMAGES, digest.images, archive)
        files = (*files, run.folder.upload(archive, DATASET_IMAGES))
        archive.unlink()
    lengths = [row.tokens for row in (*made.rows, *made.given)]
    return DatasetReport(
        source=", ".join(source.uri for source in run.config.dataset.all_sources),
        sources=_records(made, trained_on=len(run.config.dataset.sources)),
        model_revision=made.of.model.revision,
        model_listing=made.of.model.listing,
        status=DatasetStatus(
            rows=made.counts.rows.total(),
            training_rows=len(splits.training),
            validation_rows=len(splits.validation),
            test_rows=len(splits.test),
            dropped=made.dropped,
            flagged=made.tally.rows("Flag"),
            tokens=sum(splits.training_lengths),
            lengths=lengths_of(lengths),
            first_example=made.first_example,
            format=made.counts.formats[0],
            digest=digest.hexadecimal,
            report=f"{run.folder.uri}/{DATASET_PAGE}",
        ),
        longest_row_tokens=max(lengths),
        findings=made.findings,
        histogram=histogram_of(lengths),
        needs=needs_of(run.config, made.of.size, splits.training_lengths) if made.of.size else None,
        files=files,
    )


def _records(made: Made, *, trained_on: int) -> tuple[SourceRecord, ...]:
    kept = Counter(row.source for row in (*made.rows, *made.given))
    return tuple(
        record.model_copy(
            update={
                "rows": made.counts.rows[number],
                "kept": kept[number],
                "validation": number >= trained_on,
            }
        )
        for number, record in enumerate(made.of.sources)
    )
