"""Prepared rows that runs share: what one has made, those with the same inputs and settings take over.

The files are copied by the storage itself, so that each run has all of its own and goes on when another is deleted. A
run that may not read or write beside its own folder works as if nothing was shared.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from itertools import chain, repeat
from typing import Final, TypeVar

from modelgarden.api.artifact import DatasetReport, FileEntry, LengthCount, SharedDataset, SourceRecord
from modelgarden.api.documents import TRAIN_IMAGE, Document, DocumentError
from modelgarden.api.layout import DATASET_PAGE, DATASET_REPORT, SHARED_DATASET
from modelgarden_pod.errors import PodError, UserError
from modelgarden_pod.folder import Folder
from modelgarden_pod.storage import open_folder, read_or_none
from modelgarden_train.attempt.run import Run
from modelgarden_train.commands.dataset_files import MadeOf, Written
from modelgarden_train.data.identity import LIBRARIES, identity_of
from modelgarden_train.data.report.page import page_of
from modelgarden_train.estimate.needs import needs_of

D = TypeVar("D", bound=Document)

logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 60.0
"""For what only other runs gain by."""


def publish(run: Run, report: DatasetReport) -> None:
    """Write page and, last, report of a run; where the report is, the rest is there too."""
    run.folder.write(DATASET_PAGE, page_of(report, run=run.config.run).encode())
    run.folder.write(DATASET_REPORT, report.model_dump_json(by_alias=True, indent=2).encode())


class SharedDatasets:
    """The place where rows of a run's inputs and settings are shared."""

    def __init__(self, run: Run, made_of: MadeOf) -> None:
        self._run = run
        self._made_of = made_of
        self._place = _place(run, made_of)

    def adopted(self) -> DatasetReport | None:
        """Take over what another run has prepared; return the report on it, None where nothing whole is there.

        Raises:
            TemporaryError: storage does not answer.
        """
        if self._place is None:
            return None
        try:
            found = read_shared(SharedDataset, self._place, SHARED_DATASET)
            if found is None or not all(_is_whole(self._place, entry) for entry in found.report.files):
                return None
            for entry in found.report.files:
                self._run.folder.copy_from(self._place.uri, entry)
        except UserError as error:
            logger.info("Shared rows cannot be read", extra={"error": error.message})
            return None
        logger.info("The same rows were prepared before", extra={"by": found.run.name})
        return self._report(found)

    def offer(self, written: Written) -> None:
        """Leave what this run has prepared for others; that it cannot is no fault of the run."""
        if self._place is None:
            return
        counts = sorted(written.training_lengths.items())
        shared = SharedDataset(
            run=self._run.config.run,
            report=written.report,
            training_lengths=tuple(LengthCount(tokens=tokens, rows=rows) for tokens, rows in counts),
        )
        try:
            for entry in written.report.files:
                self._place.copy_from(self._run.folder.uri, entry)
            self._place.write(SHARED_DATASET, shared.model_dump_json(by_alias=True, indent=2).encode())
        except PodError as error:
            logger.warning("The prepared rows are not shared", extra={"error": str(error)})

    def _report(self, found: SharedDataset) -> DatasetReport:
        """Return another run's report as this run's: its own page, model and needs."""
        made_of = self._made_of
        lengths = list(chain.from_iterable(repeat(one.tokens, one.rows) for one in found.training_lengths))
        return found.report.model_copy(
            update={
                "sources": _sources(made_of.sources, found.report.sources),
                "model_revision": made_of.model.revision,
                "model_listing": made_of.model.listing,
                "status": found.report.status.model_copy(
                    update={"report": f"{self._run.folder.uri}/{DATASET_PAGE}", "prepared_by": found.run.name}
                ),
                "needs": needs_of(self._run.config, made_of.size, lengths) if made_of.size else None,
                "shared_from": found.run,
            }
        )


def open_shared(run: Run) -> Folder | None:
    """Return the folder of what a run shares with others; None where it does not."""
    uri = run.config.datasets_uri
    if uri is None:
        return None
    return open_folder(uri, run.config.storage, patience=run.patience).with_patience(PATIENCE_SECONDS)


def read_shared(kind: type[D], folder: Folder, name: str) -> D | None:
    """Return what another run has left, None where nothing that can be read is there.

    Raises:
        UserError: it may not be read.
        TemporaryError: storage does not answer.
    """
    body = read_or_none(folder, name)
    if body is None:
        return None
    try:
        return kind.read(body, reader=TRAIN_IMAGE)
    except DocumentError as error:
        logger.warning("What another run has left cannot be read", extra={"file": name, "error": str(error)})
        return None


def _place(run: Run, made_of: MadeOf) -> Folder | None:
    folder = open_shared(run)
    if folder is None:
        return None
    identity = identity_of(
        run.config,
        sources=[source.digest for source in made_of.sources],
        tokenizer=made_of.model.configuration_digest(),
        libraries={name: version(name) for name in LIBRARIES},
    )
    return folder.child(identity)


def _is_whole(place: Folder, entry: FileEntry) -> bool:
    found = place.stat(entry.path)
    return found is not None and (found.bytes, found.sha256) == (entry.bytes, entry.sha256)


def _sources(own: Sequence[SourceRecord], found: Sequence[SourceRecord]) -> tuple[SourceRecord, ...]:
    """Return this run's sources with the rows that were counted in them."""
    return tuple(
        mine.model_copy(update={"rows": other.rows, "kept": other.kept, "validation": other.validation})
        for mine, other in zip(own, found, strict=True)
    )
