"""The command prepare: check the dataset on a CPU before a GPU is taken, and write it as the model will see it.

Needs the base model's tokenizer only. The report is written last; where it is already, the work is done; where another
run has prepared the same, that is taken over. Rows are on the disk, whatever their number and size: in memory is some of
their text at a time, and an index. All CPUs that the pod may use work on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final

from modelgarden.api.artifact import DatasetReport
from modelgarden.api.pods import TerminationMessage
from modelgarden_pod.http import json_route, serve_routes
from modelgarden_pod.retry import Patience
from modelgarden_train.artifact.gguf.export import require_convertible
from modelgarden_train.attempt.progress import ProgressBoard
from modelgarden_train.attempt.run import Run
from modelgarden_train.commands.dataset_files import (
    KEPT_IMAGES,
    Made,
    MadeOf,
    Written,
    write_splits,
)
from modelgarden_train.commands.known_sources import KnownSources
from modelgarden_train.commands.rewards import with_rewards
from modelgarden_train.commands.shared_dataset import SharedDatasets, publish
from modelgarden_train.commands.tokenizer import tokenizer_of
from modelgarden_train.data.images.given import fetch_images
from modelgarden_train.data.images.looking import Looking
from modelgarden_train.data.pipeline import Plan, prepare_rows
from modelgarden_train.data.prepared import read_report
from modelgarden_train.data.quality.checks import RowChecks
from modelgarden_train.data.quality.nothing_left import nothing_left
from modelgarden_train.data.quality.sieve import Sieve
from modelgarden_train.data.quality.tally import told
from modelgarden_train.data.report.example import rendered_example
from modelgarden_train.data.sources.fetch import fetch_sources, list_sources
from modelgarden_train.data.sources.files import Fetched, SourceFile
from modelgarden_train.data.spool import Spool
from modelgarden_train.estimate.model_size import ModelSize, layer_of, linear_layers, size_of
from modelgarden_train.hub.destination import CHECK_PATIENCE_SECONDS, Destination
from modelgarden_train.models.adapters import may_learn, require_layers
from modelgarden_train.models.base_model import BaseModel, fetch_base_model
from modelgarden_train.models.environment import cpu_count, without_torch
from modelgarden_train.models.headers import Shapes, tensor_shapes
from modelgarden_train.models.positions import longest_row
from modelgarden_train.models.vision import counting_processor, require_vision_model

GIVEN_IMAGES: Final = "images-given"
"""Folder of the workspace that the images which rows name by a path are brought to."""

Model = tuple[BaseModel, ModelSize | None]
"""What rows take of a base model, and its size, where it can be told."""


def prepare(run: Run, *, port: int) -> TerminationMessage:
    """Prepare the dataset of a run, and tell on the port how far it is.

    Raises:
        UserError: DatasetInvalid, DatasetNotFound, ModelInvalid, ModelNotFound, AccessDenied, also of the hub that the
            artifact is to be published on; or the port is taken.
        TemporaryError: storage or hub does not answer.
    """
    hub = run.patience.apart()
    board = ProgressBoard(run.attempt, outages=[run.patience.outage, hub.outage], stage="Loading")
    serve_routes({"/progress": json_route(board.report)}, port=port)
    if run.config.hub is not None:
        patience = Patience(total=CHECK_PATIENCE_SECONDS)
        Destination(run.config.hub, patience=patience).check()
    report = read_report(run.folder)
    if report is None:
        report = _prepare(run, board, hub=hub)
    status = report.status
    return TerminationMessage(
        reason="DatasetReady",
        message=f"{status.training_rows} rows to train on, {status.validation_rows} held out, "
        f"dropped: {told(status.dropped)}",
        dataset=status,
        needs=report.needs,
    )


def _prepare(run: Run, board: ProgressBoard, *, hub: Patience) -> DatasetReport:
    """Take over what another run has prepared, else prepare; the model's files come beside the sources', as its hub may be
    far or away.
    """
    beside = ThreadPoolExecutor(max_workers=1)
    try:
        model = beside.submit(_fetch_model, run, hub=hub)
        listings = list_sources(run.config, patience=run.patience)
        known = KnownSources(run, listings, images=run.config.vision is not None)
        report = _adopted_unread(run, known, model)
        if report is None:
            fetched = fetch_sources(listings, run.workspace / "sources")
            if run.config.vision is not None:
                fetched = fetch_images(
                    run.config, fetched, run.workspace / GIVEN_IMAGES, patience=run.patience
                )
            report = _adopted_or_made(run, board, fetched, _sized(model))
            known.note(fetched)
    finally:
        beside.shutdown(wait=False, cancel_futures=True)
    report = with_rewards(run, report)
    publish(run, report)
    return report


def _fetch_model(run: Run, *, hub: Patience) -> tuple[BaseModel, Shapes | None]:
    config = run.config
    model = fetch_base_model(config, run.workspace / "tokenizer", weights=False, patience=hub)
    require_convertible(config, model.path)
    if config.vision is not None:
        require_vision_model(model.path, source=model.source)
    shapes = tensor_shapes(config, model, patience=hub)
    if shapes is not None:
        linear = (tensor for tensor in linear_layers(shapes) if may_learn(config, tensor))
        require_layers(config, set(map(layer_of, linear)))
    return model, shapes


def _sized(fetched: Future[tuple[BaseModel, Shapes | None]]) -> Model:
    """Return the model with its size, in this thread: others must not look for PyTorch while it is barred."""
    model, shapes = fetched.result()
    with without_torch():
        return model, size_of(model.path, shapes)


def _adopted_unread(
    run: Run, known: KnownSources, model: Future[tuple[BaseModel, Shapes | None]]
) -> DatasetReport | None:
    """Take over what another run has prepared of sources that need not be read for it."""
    records = known.records()
    return SharedDatasets(run, MadeOf(records, *_sized(model))).adopted() if records else None


def _adopted_or_made(
    run: Run, board: ProgressBoard, fetched: Sequence[Fetched], model: Model
) -> DatasetReport:
    made_of = MadeOf(tuple(source.record for source in fetched), *model)
    shared = SharedDatasets(run, made_of)
    report = shared.adopted()
    if report is None:
        files = tuple(file for source in fetched for file in source.files)
        written = _written(run, board, files, made_of)
        shared.offer(written)
        report = written.report
    return report


def _written(run: Run, board: ProgressBoard, files: Sequence[SourceFile], made_of: MadeOf) -> Written:
    board.stage("Preparing")
    dataset = run.config.dataset
    with without_torch():
        longest = longest_row(run.config, made_of.model.path)
    vision = run.config.vision
    source = made_of.model.source if vision is not None else None
    make_tokenizer = partial(tokenizer_of, made_of.model.path, dataset.chat_template, source)
    look = None
    if vision is not None:
        (run.workspace / KEPT_IMAGES).mkdir(exist_ok=True)
        look = Looking(
            given=run.workspace / GIVEN_IMAGES,
            kept=run.workspace / KEPT_IMAGES,
            load_tokens=partial(counting_processor, made_of.model.path, vision.max_pixels),
        )
    plan = Plan(
        make_tokenizer=make_tokenizer,
        checks=RowChecks(dataset.quality, longest=longest),
        max_bad_rows=dataset.max_bad_rows,
        objective=run.config.objective.type,
        look=look,
        only_checked=run.config.dry_run,
        cpus=cpu_count(),
    )
    with Spool(run.workspace / "prepared.rows") as spool:
        sieve = Sieve(dataset.quality)
        counts = prepare_rows(files, dataset, plan, sieve, spool)
        gone = sieve.near_duplicates()
        sieve.tally.require_none_failed()
        kept = [row for number, row in enumerate(spool.rows) if number not in gone]
        rows = [row for row in kept if row.source < len(dataset.sources)]
        given = [row for row in kept if row.source >= len(dataset.sources)]
        read = sum(counts.rows[number] for number in range(len(dataset.sources)))
        lost = partial(nothing_left, findings=(*counts.bad.records, *sieve.tally.records), longest=longest)
        if not rows:
            raise lost("to train on", read=read)
        if dataset.validation_sources and not given:
            raise lost("of dataset.validationSources", read=counts.rows.total() - read)
        board.stage("Uploading")
        tokenizer = make_tokenizer()
        made = Made(
            spool=spool,
            rows=rows,
            given=given,
            counts=counts,
            tally=sieve.tally,
            first_example=rendered_example(tokenizer, spool.row(rows[0]).input_ids),
            of=made_of,
        )
        return write_splits(run, made)
