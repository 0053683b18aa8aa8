"""The command prepare: check the dataset on a CPU before a GPU is taken, and write it as the model will see it.

Needs the base model's tokenizer only. The report is written last; where it is already, the work is done.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelgarden.api.artifact import DatasetReport
from modelgarden.api.finetunejob import DatasetStatus
from modelgarden.api.layout import DATASET_REPORT, DATASET_TRAIN, DATASET_VALIDATION
from modelgarden.api.pods import TerminationMessage
from modelgarden_pod.errors import UserError
from modelgarden_train.attempt.run import Run
from modelgarden_train.data.chat import complete_tokenizer, render, token_ids
from modelgarden_train.data.prepared import PreparedRow, digest_of, read_report, write_split
from modelgarden_train.data.reading import read_rows
from modelgarden_train.data.rows import Row
from modelgarden_train.data.sources import fetch_source
from modelgarden_train.data.splits import split_rows, without_duplicates
from modelgarden_train.models.base_model import fetch_base_model
from modelgarden_train.models.environment import go_offline
from modelgarden_train.models.loading import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


def prepare(run: Run) -> TerminationMessage:
    """Prepare the dataset of a run.

    Raises:
        UserError: DatasetInvalid, DatasetNotFound, ModelInvalid, ModelNotFound, AccessDenied.
        TemporaryError: storage does not answer.
    """
    report = read_report(run.folder)
    if report is None:
        report = _prepare(run)
    status = report.status
    dropped = ", ".join(f"{count} {reason}" for reason, count in status.dropped.items()) or "none"
    return TerminationMessage(
        reason="DatasetReady",
        message=f"{status.training_rows} rows to train on, {status.validation_rows} held out, dropped: {dropped}",
        dataset=status,
    )


def _prepare(run: Run) -> DatasetReport:
    config = run.config
    source = run.workspace / "dataset.jsonl"
    etag = fetch_source(config, source, patience=run.patience)
    parsed = read_rows(source, config.dataset_format)
    model = fetch_base_model(config, run.workspace / "tokenizer", weights=False, patience=run.patience)
    go_offline()
    tokenizer = load_tokenizer(model.path)
    if complete_tokenizer(tokenizer):
        logger.warning("The base model has no chat template; a plain one is used and saved with the artifact")

    distinct = without_duplicates(parsed.rows)
    limit = config.training.max_sequence_length
    prepared = [(row, prepared) for row, prepared in _render(tokenizer, distinct) if prepared.tokens <= limit]
    if not prepared:
        raise UserError(
            "DatasetInvalid",
            f"every row is longer than training.maxSequenceLength ({limit} tokens); shorten the rows or raise it",
        )
    by_digest = {row.digest: prepared_row for row, prepared_row in prepared}
    training, validation = (
        [by_digest[row.digest] for row in split]
        for split in split_rows(
            [row for row, _ in prepared], share=config.validation_split, seed=config.training.seed
        )
    )
    dropped = {
        "Duplicate": len(parsed.rows) - len(distinct),
        "TooLong": len(distinct) - len(prepared),
    }
    report = DatasetReport(
        source=config.dataset_source,
        source_etag=etag,
        model_revision=model.revision,
        model_listing=model.listing,
        status=DatasetStatus(
            rows=len(parsed.rows),
            training_rows=len(training),
            validation_rows=len(validation),
            dropped={reason: count for reason, count in dropped.items() if count},
            tokens=sum(row.tokens for row in training),
            format=parsed.format,
            digest=digest_of(training, validation),
        ),
        longest_row_tokens=max(row.tokens for _, row in prepared),
        files=(
            write_split(run.folder, DATASET_TRAIN, training, scratch=run.workspace),
            write_split(run.folder, DATASET_VALIDATION, validation, scratch=run.workspace),
        ),
    )
    run.folder.write(DATASET_REPORT, report.model_dump_json(by_alias=True, indent=2).encode())
    return report


def _render(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> list[tuple[Row, PreparedRow]]:
    rendered = render(tokenizer, rows)
    prompts = token_ids(tokenizer, [row.prompt for row in rendered])
    completions = token_ids(tokenizer, [row.completion for row in rendered])
    return [
        (
            row,
            PreparedRow(
                prompt=text.prompt,
                completion=text.completion,
                question=row.question,
                answer=row.answer,
                tokens=len(prompt) + len(completion),
            ),
        )
        for row, text, prompt, completion in zip(rows, rendered, prompts, completions, strict=True)
    ]
