"""Held-out scores: perplexity of the reference answers, and exact match of greedily generated ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelgarden.api.artifact import Evaluation, GeneratedRow
from modelgarden.api.evaluation import (
    DIRECTIONS,
    EXACT_MATCH,
    PERPLEXITY,
    Direction,
    EvaluationStatus,
    Metric,
    Score,
)
from modelgarden_pod.errors import UserError
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.evaluation.inference import completion_losses, generate
from modelgarden_train.evaluation.statistics import perplexity, share
from modelgarden_train.models.loading import inference

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class ModelResult:
    """Scores and answers of one model, in the order of the rows."""

    scores: Mapping[str, Score]
    """By the name of the metric."""
    answers: tuple[str, ...]
    """One for each row; nothing for a row that asks nothing."""


def evaluate_model(
    model: Any, tokenizer: PreTrainedTokenizerBase, rows: Sequence[PreparedRow], *, max_new_tokens: int
) -> ModelResult:
    """Score a model on held-out rows.

    Raises:
        UserError: TrainingFailed, the model gives no numbers any more.
    """
    asked = [row for row in rows if row.question]
    with inference(model):
        losses = completion_losses(model, tokenizer, rows)
        answers = generate(model, tokenizer, asked, max_new_tokens=max_new_tokens) if asked else []
    if not all(math.isfinite(loss) for row in losses for loss in row):
        raise UserError("TrainingFailed", "the model's loss is not a number; lower training.learningRate")
    scores = {PERPLEXITY: perplexity(losses)}
    if asked:
        scores[EXACT_MATCH] = share(exact_matches(tokenizer, asked, answers), len(asked))
    given = iter(answers)
    return ModelResult(scores=scores, answers=tuple(next(given) if row.question else "" for row in rows))


def metrics_of(rows: Sequence[PreparedRow]) -> dict[str, Direction]:
    """Return the metrics that rows have, with their directions: where no row asks anything, no answer can match."""
    asked = any(row.question for row in rows)
    return {name: direction for name, direction in DIRECTIONS.items() if asked or name != EXACT_MATCH}


def exact_matches(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[PreparedRow], answers: Sequence[str]
) -> int:
    """Return how many answers are their row's reference, as people wrote it or as the template renders it.

    A thinking template puts an empty thought before the reference, and that is what the model learns to answer.
    """
    rendered = tokenizer.batch_decode([row.reference_ids for row in rows], skip_special_tokens=True)
    return sum(
        answer in (row.answer.strip(), text.strip())
        for answer, row, text in zip(answers, rows, rendered, strict=True)
    )


def combine(rows: Sequence[PreparedRow], *, base: ModelResult, tuned: ModelResult) -> Evaluation:
    """Return scores and answers of both models side by side."""
    return Evaluation(
        scores=EvaluationStatus(
            rows=len(rows),
            metrics=tuple(
                Metric(name=name, direction=direction, base=base.scores[name], tuned=tuned.scores[name])
                for name, direction in metrics_of(rows).items()
            ),
        ),
        rows=tuple(
            GeneratedRow(prompt=row.question, expected=row.answer, base=before, tuned=after)
            for row, before, after in zip(rows, base.answers, tuned.answers, strict=True)
        ),
    )
