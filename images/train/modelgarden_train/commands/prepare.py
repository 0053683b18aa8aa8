"""The command prepare: check the dataset on a CPU before a GPU is taken, and write it as the model will see it.

Needs the base model's tokenizer only. The report is written last; where it is already, the work is done. Rows are on
the disk, whatever their number and size: in memory is some of their text at a time, and an index.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modelgarden.api.artifact import DatasetReport, SourceRecord
from modelgarden.api.finetunejob import DatasetStatus
from modelgarden.api.layout import DATASET_REPORT, DATASET_TRAIN, DATASET_VALIDATION
from modelgarden.api.pods import RunConfig, TerminationMessage
from modelgarden_pod.errors import UserError
from modelgarden_pod.http import json_route, serve_routes
from modelgarden_pod.retry import Patience
from modelgarden_train.attempt.progress import ProgressBoard
from modelgarden_train.attempt.run import Run
from modelgarden_train.data.batching import in_batches
from modelgarden_train.data.chat import complete_tokenizer, encode
from modelgarden_train.data.learnable import require_learnable
from modelgarden_train.data.prepared import PreparedRow, digest_of, read_report, write_split
from modelgarden_train.data.reading import Checked, check_rows
from modelgarden_train.data.rows import Row, RowError
from modelgarden_train.data.sources.fetch import fetch_sources
from modelgarden_train.data.splits import Shares, split_rows, without_duplicates
from modelgarden_train.data.spool import Spool
from modelgarden_train.data.weights import weighted
from modelgarden_train.models.base_model import BaseModel, fetch_base_model
from modelgarden_train.models.environment import go_offline
from modelgarden_train.models.loading import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

RENDERED_CHARACTERS: Final = 512 * 1024
"""Text that is rendered and tokenized at a time: a tokenizer takes some 300 bytes for each token."""


@dataclass(frozen=True)
class Inputs:
    """What is prepared, and what of the model it takes."""

    dataset: Checked
    sources: tuple[SourceRecord, ...]
    model: BaseModel


def prepare(run: Run, *, port: int) -> TerminationMessage:
    """Prepare the dataset of a run, and tell on the port how far it is.

    Raises:
        UserError: DatasetInvalid, DatasetNotFound, ModelInvalid, ModelNotFound, AccessDenied; or the port is taken.
        TemporaryError: storage or hub does not answer.
    """
    hub = run.patience.apart()
    board = ProgressBoard(run.attempt, outages=[run.patience.outage, hub.outage], stage="Loading")
    serve_routes({"/progress": json_route(board.report)}, port=port)
    report = read_report(run.folder)
    if report is None:
        report = _prepare(run, board, hub=hub)
    status = report.status
    dropped = ", ".join(f"{count} {reason}" for reason, count in status.dropped.items()) or "none"
    return TerminationMessage(
        reason="DatasetReady",
        message=f"{status.training_rows} rows to train on, {status.validation_rows} held out, dropped: {dropped}",
        dataset=status,
    )


def _prepare(run: Run, board: ProgressBoard, *, hub: Patience) -> DatasetReport:
    inputs = _fetch(run, hub=hub)
    go_offline()
    tokenizer = load_tokenizer(inputs.model.path)
    if complete_tokenizer(tokenizer, run.config.dataset.chat_template):
        logger.warning("The base model has no chat template; a plain one is used and saved with the artifact")

    board.stage("Preparing")
    limit = run.config.training.max_sequence_length
    with Spool(run.workspace / "prepared.jsonl") as spool:
        distinct = 0
        rows = without_duplicates(inputs.dataset.read())
        for batch in in_batches(rows, size=lambda row: row.characters, most=RENDERED_CHARACTERS):
            distinct += len(batch)
            for row, prepared in zip(batch, _prepared(tokenizer, batch, run.config), strict=True):
                if prepared.tokens <= limit:
                    spool.add(row, prepared)
        if not spool.rows:
            raise UserError(
                "DatasetInvalid",
                f"every row is longer than training.maxSequenceLength ({limit} tokens); "
                "shorten the rows or raise it",
            )
        board.stage("Uploading")
        return _upload(run, inputs, spool, distinct=distinct)


def _fetch(run: Run, *, hub: Patience) -> Inputs:
    """Fetch and check the dataset; the model's files come beside it, as its hub may be far or away."""
    config = run.config
    beside = ThreadPoolExecutor(max_workers=1)
    try:
        model = beside.submit(
            fetch_base_model, config, run.workspace / "tokenizer", weights=False, patience=hub
        )
        fetched = fetch_sources(config, run.workspace / "sources", patience=run.patience)
        files = [file for source in fetched for file in source.files]
        dataset = check_rows(files, config.dataset.sources)
        records = tuple(source.record for source in fetched)
        return Inputs(dataset=dataset, sources=records, model=model.result())
    finally:
        beside.shutdown(wait=False, cancel_futures=True)


def _upload(run: Run, inputs: Inputs, spool: Spool, *, distinct: int) -> DatasetReport:
    """Split what was prepared and write it; the report comes last."""
    config, sources = run.config, inputs.dataset.sources
    shares = Shares(validation=config.dataset.validation_split)
    splits = split_rows(spool.rows, shares=shares, seed=config.training.seed)
    validation_rows = splits.validation
    training_rows = list(weighted(splits.training, [source.weight for source in sources]))
    if not training_rows:
        raise UserError("DatasetInvalid", "the sources' weights leave no row to train on; raise them")
    training, validation = spool.read(training_rows), spool.read(validation_rows)
    dropped = {
        "Duplicate": inputs.dataset.rows - distinct,
        "TooLong": distinct - len(spool.rows),
    }
    report = DatasetReport(
        source=", ".join(source.uri for source in sources),
        sources=inputs.sources,
        model_revision=inputs.model.revision,
        model_listing=inputs.model.listing,
        status=DatasetStatus(
            rows=inputs.dataset.rows,
            training_rows=len(training),
            validation_rows=len(validation),
            dropped={reason: count for reason, count in dropped.items() if count},
            tokens=sum(row.tokens for row in training_rows),
            format=sources[0].format,
            digest=digest_of(training, validation),
        ),
        longest_row_tokens=max(row.tokens for row in spool.rows),
        files=(
            write_split(run.folder, DATASET_TRAIN, training, scratch=run.workspace),
            write_split(run.folder, DATASET_VALIDATION, validation, scratch=run.workspace),
        ),
    )
    run.folder.write(DATASET_REPORT, report.model_dump_json(by_alias=True, indent=2).encode())
    return report


def _prepared(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], config: RunConfig
) -> Iterator[PreparedRow]:
    for row, encoded in zip(rows, encode(tokenizer, rows), strict=True):
        if not config.dry_run:
            require_learnable(row)
        if isinstance(encoded, RowError):
            raise UserError("DatasetInvalid", f"{row.place}: {encoded}")
        yield PreparedRow(
            input_ids=encoded.ids, spans=encoded.spans, question=row.question, answer=row.answer
        )
