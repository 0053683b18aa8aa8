"""What a model is trained on by reinforcement: completions of its own, and what each is worth."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from modelgarden.api.finetunejob import Grpo
from modelgarden_train.data.chat import stop_token_ids
from modelgarden_train.evaluation.inference import texts_of
from modelgarden_train.models.generation import Sampling, answer_limit, generate
from modelgarden_train.models.loading import inference
from modelgarden_train.objectives.group import learned_rows
from modelgarden_train.objectives.passes import StepRow
from modelgarden_train.objectives.scope import Scope
from modelgarden_train.parallel.shares import in_shares
from modelgarden_train.rewards.completion import Completion
from modelgarden_train.rewards.scorer import Scorer

Group = list[tuple[list[int], float | None]]
"""The completions of a prompt, each with what it is worth; None for one that is not judged."""


@dataclass(frozen=True)
class Rolled:
    """The completions of a step."""

    rows: list[StepRow]
    reward: float | None
    """Mean of what the completions are worth, None where none was judged."""


class Rollouts:
    """Completes prompts and has the completions judged."""

    def __init__(self, scope: Scope, settings: Grpo, scorer: Scorer) -> None:
        self._scope = scope
        self._settings = settings
        self._scorer = scorer
        self._stops = stop_token_ids(scope.tokenizer, [row.reference_ids for row in scope.rows])

    def of(self, model: Any, rows: Sequence[StepRow], *, step: int) -> Rolled:
        """Complete the prompts of a step, as often as a group has completions; each process completes its share of them.

        Raises:
            UserError: RewardFailed, a reward gives no number.
            torch.OutOfMemoryError: a single prompt does not fit.
            PeerLost: another process has ended.
        """
        groups = in_shares(
            rows,
            lambda own: self._groups(model, own, step=step),
            width=lambda row: len(row["prompt_ids"]),
            ranks=self._scope.ranks,
        )
        completions = [ids for ids, _ in chain(*groups)]
        worth = [reward for _, reward in chain(*groups)]
        judged = [reward for reward in worth if reward is not None]
        return Rolled(
            rows=learned_rows(
                self._repeated(rows), completions, worth, stops=self._stops, settings=self._settings
            ),
            reward=math.fsum(judged) / len(judged) if judged else None,
        )

    def _groups(self, model: Any, rows: Sequence[StepRow], *, step: int) -> list[Group]:
        """Return the completions of each prompt, each with what it is worth."""
        asked, size = self._repeated(rows), self._settings.generations
        completions = self._complete(model, asked, step=step)
        judged = list(zip(completions, self._worth(asked, completions), strict=True))
        return [judged[start : start + size] for start in range(0, len(judged), size)]

    def _repeated(self, rows: Sequence[StepRow]) -> list[StepRow]:
        return [row for row in rows for _ in range(self._settings.generations)]

    def _complete(self, model: Any, asked: Sequence[StepRow], *, step: int) -> list[list[int]]:
        with inference(model):
            return generate(
                model,
                self._scope.tokenizer,
                [row["prompt_ids"] for row in asked],
                limits=list(self._limits(model, asked)),
                stops=self._stops,
                sampling=Sampling(
                    temperature=self._settings.temperature,
                    top_p=self._settings.top_p,
                    seed=self._seed(step),
                ),
            )

    def _worth(self, asked: Sequence[StepRow], completions: Sequence[list[int]]) -> tuple[float | None, ...]:
        texts = texts_of(self._scope.tokenizer, completions)
        return self._scorer.score(
            [
                Completion(prompt=row["question"], text=text, ids=ids, answer=row["answer"])
                for row, text, ids in zip(asked, texts, completions, strict=True)
            ]
        ).totals

    def _seed(self, step: int) -> int:
        """Return a number of its own for each step and process."""
        return zlib.crc32(repr((self._scope.config.training.seed, step, self._scope.ranks.rank)).encode())

    def _limits(self, model: Any, rows: Sequence[StepRow]) -> Iterator[int]:
        """Yield the most tokens that may follow each prompt: what is wanted, and what a sequence and the model hold."""
        positions = getattr(model.config, "max_position_embeddings", None)
        longest = self._scope.config.training.max_sequence_length
        for row in rows:
            yield answer_limit(
                len(row["prompt_ids"]),
                wanted=self._settings.max_completion_length,
                positions=min(longest, positions) if positions else longest,
            )
