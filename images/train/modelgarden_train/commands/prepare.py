"""The command prepare: check the dataset on a CPU before a GPU is taken, and write it as the model will see it.

Needs the base model's tokenizer only. The report is written last; where it is already, the work is done. Rows are on
the disk, whatever their number and size: in memory is some of their text at a time, and an index. All CPUs that the pod
may use work on them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from modelgarden.api.artifact import DatasetReport, SourceRecord
from modelgarden.api.finetunejob import DatasetStatus
from modelgarden.api.layout import DATASET_REPORT, DATASET_TRAIN, DATASET_VALIDATION
from modelgarden.api.pods import TerminationMessage
from modelgarden_pod.errors import UserError
from modelgarden_pod.http import json_route, serve_routes
from modelgarden_pod.retry import Patience
from modelgarden_train.attempt.progress import ProgressBoard
from modelgarden_train.attempt.run import Run
from modelgarden_train.commands.tokenizer import tokenizer_of
from modelgarden_train.data.pipeline import Counts, Plan, prepare_rows
from modelgarden_train.data.prepared import digest_of, read_report, write_split
from modelgarden_train.data.sources.fetch import fetch_sources
from modelgarden_train.data.sources.files import SourceFile
from modelgarden_train.data.splits import Shares, split_rows
from modelgarden_train.data.spool import Spool
from modelgarden_train.data.weights import weighted
from modelgarden_train.models.base_model import BaseModel, fetch_base_model
from modelgarden_train.models.environment import cpu_count


@dataclass(frozen=True)
class Inputs:
    """What is prepared, and what of the model it takes."""

    files: tuple[SourceFile, ...]
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
    board.stage("Preparing")
    dataset, limit = run.config.dataset, run.config.training.max_sequence_length
    plan = Plan(
        make_tokenizer=partial(tokenizer_of, inputs.model.path, dataset.chat_template),
        most_tokens=limit,
        max_bad_rows=dataset.max_bad_rows,
        learned=not run.config.dry_run,
        cpus=cpu_count(),
    )
    with Spool(run.workspace / "prepared.rows") as spool:
        counts = prepare_rows(inputs.files, dataset.sources, plan, spool)
        if not spool.rows:
            raise UserError(
                "DatasetInvalid",
                f"every row is longer than training.maxSequenceLength ({limit} tokens); "
                "shorten the rows or raise it",
            )
        board.stage("Uploading")
        return _upload(run, inputs, spool, counts=counts)


def _fetch(run: Run, *, hub: Patience) -> Inputs:
    """Fetch the dataset; the model's files come beside it, as its hub may be far or away."""
    config = run.config
    beside = ThreadPoolExecutor(max_workers=1)
    try:
        model = beside.submit(
            fetch_base_model, config, run.workspace / "tokenizer", weights=False, patience=hub
        )
        fetched = fetch_sources(config, run.workspace / "sources", patience=run.patience)
        return Inputs(
            files=tuple(file for source in fetched for file in source.files),
            sources=tuple(source.record for source in fetched),
            model=model.result(),
        )
    finally:
        beside.shutdown(wait=False, cancel_futures=True)


def _upload(run: Run, inputs: Inputs, spool: Spool, *, counts: Counts) -> DatasetReport:
    """Split what was prepared and write it; the report comes last."""
    config, sources = run.config, run.config.dataset.sources
    shares = Shares(validation=config.dataset.validation_split)
    splits = split_rows(spool.rows, shares=shares, seed=config.training.seed)
    validation_rows = splits.validation
    training_rows = list(weighted(splits.training, [source.weight for source in sources]))
    if not training_rows:
        raise UserError("DatasetInvalid", "the sources' weights leave no row to train on; raise them")
    training, validation = spool.read(training_rows), spool.read(validation_rows)
    report = DatasetReport(
        source=", ".join(source.uri for source in sources),
        sources=inputs.sources,
        model_revision=inputs.model.revision,
        model_listing=inputs.model.listing,
        status=DatasetStatus(
            rows=counts.rows,
            training_rows=len(training),
            validation_rows=len(validation),
            dropped=counts.dropped,
            tokens=sum(row.tokens for row in training_rows),
            format=counts.formats[0],
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
