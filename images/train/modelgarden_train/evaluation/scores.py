"""Held-out scores: perplexity of the reference answers; how often greedily generated ones match them, or, of pairs of
answers, how much likelier the better one is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from modelgarden.api.artifact import Evaluation, GeneratedRow
from modelgarden.api.evaluation import (
    DIRECTIONS,
    EXACT_MATCH,
    PERPLEXITY,
    PREFERENCE_ACCURACY,
    PREFERENCE_MARGIN,
    REWARD,
    Direction,
    EvaluationStatus,
    Metric,
    Score,
)
from modelgarden_pod.errors import UserError
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.evaluation.inference import answers_of, completion_losses, texts_of
from modelgarden_train.evaluation.sight import Sight
from modelgarden_train.evaluation.statistics import difference, mean, perplexity, share
from modelgarden_train.models.loading import inference
from modelgarden_train.parallel.ranks import ALONE, Ranks
from modelgarden_train.parallel.shares import in_shares
from modelgarden_train.rewards.completion import Completion
from modelgarden_train.rewards.scorer import Scorer

Result = TypeVar("Result")
Work = Callable[[Sequence[PreparedRow]], list[Result]]

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
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[PreparedRow],
    *,
    max_new_tokens: int,
    ranks: Ranks = ALONE,
    scorer: Scorer | None = None,
    sight: Sight | None = None,
) -> ModelResult:
    """Score a model on held-out rows, of which each process takes its share; all of them know the result.

    Rows with images need `sight` of them.

    Where the objective has rewards, what judges by them judges the answers.

    Raises:
        UserError: TrainingFailed, the model gives no numbers any more; RewardFailed, a reward gives none.
        PeerLost: another process has ended.
    """

    def shared(rows: Sequence[PreparedRow], work: Work[Result]) -> list[Result]:
        return in_shares(rows, work, width=lambda row: row.tokens, ranks=ranks)

    def losses_of(rows: Sequence[PreparedRow]) -> list[list[float]]:
        return completion_losses(model, tokenizer, rows, sight=sight)

    def answered(rows: Sequence[PreparedRow]) -> list[list[int]]:
        return answers_of(model, tokenizer, rows, max_new_tokens=max_new_tokens, sight=sight)

    asked = [row for row in rows if row.question]
    good = [row for row in rows if row.label is not False]
    bad = [with_rejected(row) for row in rows if row.rejected_ids] + [
        row for row in rows if row.label is False
    ]
    with inference(model):
        ids = shared(asked, answered)
        if scorer is not None:
            return _rewarded(tokenizer, rows, ids, ranks=ranks, scorer=scorer)
        losses, worse = shared(good, losses_of), shared(bad, losses_of)
    answers = texts_of(tokenizer, ids)
    if not all(math.isfinite(loss) for row in (*losses, *worse) for loss in row):
        raise UserError("TrainingFailed", "the model's loss is not a number; lower training.learningRate")
    names = metrics_of(rows)
    scores = {PERPLEXITY: perplexity(losses)} if PERPLEXITY in names else {}
    if PREFERENCE_ACCURACY in names:
        scores |= _of_pairs(losses, worse)
    elif PREFERENCE_MARGIN in names:
        scores[PREFERENCE_MARGIN] = difference(_negated(losses), _negated(worse))
    elif EXACT_MATCH in names:
        scores[EXACT_MATCH] = share(exact_matches(tokenizer, asked, answers), len(asked))
    return ModelResult(scores=scores, answers=_by_row(rows, answers))


def _rewarded(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[PreparedRow],
    ids: Sequence[list[int]],
    *,
    ranks: Ranks,
    scorer: Scorer,
) -> ModelResult:
    """Score the likeliest answers to all rows that ask something: what they are worth, and how often they match."""
    asked = [row for row in rows if row.question]
    answers = texts_of(tokenizer, ids)
    completions = [
        Completion(prompt=row.question, text=text, ids=tokens, answer=row.answer)
        for row, text, tokens in zip(asked, answers, ids, strict=True)
    ]
    totals = in_shares(
        completions, lambda own: list(scorer.score(own).totals), width=lambda one: len(one.ids), ranks=ranks
    )
    worth = [reward for reward in totals if reward is not None]
    if not worth:
        raise UserError(
            "RewardFailed", "no reward judged any held-out answer; have one return numbers for them"
        )
    scores = {REWARD: mean(worth), EXACT_MATCH: share(exact_matches(tokenizer, asked, answers), len(asked))}
    return ModelResult(scores=scores, answers=_by_row(rows, answers))


def _by_row(rows: Sequence[PreparedRow], answers: Sequence[str]) -> tuple[str, ...]:
    given = iter(answers)
    return tuple(next(given) if row.question else "" for row in rows)


def metrics_of(rows: Sequence[PreparedRow], *, rewarded: bool = False) -> dict[str, Direction]:
    """Return the metrics that rows have, with their directions; `rewarded` where the objective has rewards.

    Where there are rewards, a row's answer is there to compare with, and its perplexity tells nothing. Preferences have
    no reference that an answer could match, and where no row asks anything there is no answer. Of rows with labels, good
    answers have a perplexity, and a margin where there are bad ones too.
    """
    if rewarded:
        return {name: DIRECTIONS[name] for name in (REWARD, EXACT_MATCH)}
    names = [PERPLEXITY] if any(row.label is not False for row in rows) else []
    if any(row.rejected_ids for row in rows):
        names += [PREFERENCE_ACCURACY, PREFERENCE_MARGIN]
    elif {True, False} <= {row.label for row in rows}:
        names.append(PREFERENCE_MARGIN)
    elif any(row.question and row.label is None for row in rows):
        names.append(EXACT_MATCH)
    return {name: DIRECTIONS[name] for name in names}


def with_rejected(row: PreparedRow) -> PreparedRow:
    """Return a preference with its worse answer in the place of the better one."""
    ids = row.prompt_ids + row.rejected_ids
    return replace(row, input_ids=ids, spans=((len(row.prompt_ids), len(ids)),), rejected_ids=[])


def _of_pairs(better: Sequence[Sequence[float]], worse: Sequence[Sequence[float]]) -> dict[str, Score]:
    """Return the scores of pairs by the negative log-likelihoods of both answers' tokens."""
    margins = [good - bad for good, bad in zip(_negated(better), _negated(worse), strict=True)]
    preferred = sum(margin > 0 for margin in margins)
    return {PREFERENCE_ACCURACY: share(preferred, len(margins)), PREFERENCE_MARGIN: mean(margins)}


def _negated(losses: Sequence[Sequence[float]]) -> list[float]:
    """Return the log-likelihood of each answer."""
    return [-math.fsum(row) for row in losses]


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
                for name, direction in DIRECTIONS.items()
                if name in tuned.scores
            ),
        ),
        rows=tuple(
            GeneratedRow(prompt=row.question, expected=row.answer, base=before, tuned=after)
            for row, before, after in zip(rows, base.answers, tuned.answers, strict=True)
        ),
    )
