"""Completions of prompts in groups, and what each counts for in the loss of a step. The advantages and scales are pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from modelgarden.api.finetunejob import Grpo, GrpoLoss
from modelgarden.api.pods import RunConfig
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.objectives.passes import StepRow

_SMALLEST_DEVIATION: Final = 1e-4
"""Added to a group's deviation before it is divided by, as TRL does."""


def asked(row: PreparedRow) -> StepRow:
    """Return the token ids of a prompt, and what its completions are judged by."""
    return {"prompt_ids": row.prompt_ids, "question": row.question, "answer": row.answer}


def widest(config: RunConfig, longest_row: int) -> int:
    """Return the most tokens that a trained row has; `longest_row` is that of the longest of the dataset.

    A completion takes the place of the row's answer, and may be longer.
    """
    grpo = config.objective.grpo
    if grpo is None:
        return longest_row
    return max(
        longest_row, min(config.training.max_sequence_length, longest_row + grpo.max_completion_length)
    )


def sequences(config: RunConfig) -> int:
    """Return how many sequences a row is trained as."""
    grpo = config.objective.grpo
    return grpo.generations if grpo is not None else 1


def answer_tokens(config: RunConfig) -> int:
    """Return the most tokens of a held-out answer: where it earns rewards, as many as what is learned may have."""
    grpo = config.objective.grpo
    return grpo.max_completion_length if grpo is not None else config.evaluation.max_new_tokens


def advantages(rewards: Sequence[float | None], *, group: int, scaled: bool) -> list[float]:
    """Return how far each completion's reward lies above the mean of its group, in deviations where `scaled`.

    The completions of a prompt follow one another, `group` of them. One that is not judged, None, has no part in this.
    (Shao et al. 2024, 4.1.2; the deviation is that of a sample, as in TRL.)
    """
    found = []
    for start in range(0, len(rewards), group):
        own = rewards[start : start + group]
        judged = [reward for reward in own if reward is not None]
        mean = math.fsum(judged) / max(1, len(judged))
        spread = math.fsum((reward - mean) ** 2 for reward in judged) / max(1, len(judged) - 1)
        unit = math.sqrt(spread) + _SMALLEST_DEVIATION if scaled else 1.0
        found += [0.0 if reward is None else (reward - mean) / unit for reward in own]
    return found


def scales(tokens: Sequence[int], loss: GrpoLoss, *, longest: int) -> list[float]:
    """Return what each token of a completion counts for in the loss of a step; `tokens` are those that are learned.

    GRPO: a share of its completion, which are all alike. DAPO (Yu et al. 2025, 3.3): a share of all tokens. DrGRPO (Liu et
    al. 2025, 3.2): a share of as many tokens as all completions might have, `longest` each.
    """
    if loss == "GRPO":
        return [1 / (len(tokens) * max(1, count)) for count in tokens]
    if loss == "DAPO":
        return [1 / max(1, sum(tokens))] * len(tokens)
    return [1 / (len(tokens) * longest)] * len(tokens)


def learned_rows(
    asked: Sequence[StepRow],
    completions: Sequence[Sequence[int]],
    rewards: Sequence[float | None],
    *,
    stops: Collection[int],
    settings: Grpo,
) -> list[StepRow]:
    """Return the completions as rows of a step, each with its advantage and what its tokens count for.

    Those of one prompt follow one another. One that no token of `stops` ends was cut at its limit: it counts for nothing
    where the settings say so.
    """
    shares = advantages(rewards, group=settings.generations, scaled=settings.scale_rewards)
    counted = [not settings.mask_truncated or ids[-1] in stops for ids in completions]
    tokens = [len(ids) if counts else 0 for ids, counts in zip(completions, counted, strict=True)]
    weights = scales(tokens, settings.loss_type, longest=settings.max_completion_length)
    return [
        {
            "prompt_ids": row["prompt_ids"],
            "completion_ids": ids,
            "advantage": share,
            "scale": weight if counts else 0.0,
        }
        for row, ids, share, weight, counts in zip(asked, completions, shares, weights, counted, strict=True)
    ]


@dataclass(frozen=True)
class Grouped:
    """Completions with advantages; how they add up to the loss of a step stands in their scales."""

    pad_token: int
    why_padded: str | None = "completions of many lengths go through the model together"

    def tokens(self, row: StepRow) -> int:
        """Return the tokens of prompt and completion."""
        return len(row["prompt_ids"]) + len(row["completion_ids"])

    def width(self, row: StepRow) -> int:
        """Return what a pass gives a completion."""
        return self.tokens(row)

    def weight(self, rows: Sequence[StepRow]) -> int:
        """Return the number of rows."""
        return len(rows)

    def tensors(self, rows: Sequence[StepRow]) -> dict[str, Any]:
        """Return token ids, attention mask and mask of the completions, each of shape (rows, longest); advantages and
        scales of shape (rows,).
        """
        import torch

        width = max(map(self.width, rows))
        ids = torch.full((len(rows), width), self.pad_token)
        attended, learned = torch.zeros_like(ids), torch.zeros_like(ids)
        for place, row in enumerate(rows):
            start, end = len(row["prompt_ids"]), self.width(row)
            ids[place, :end] = torch.tensor([*row["prompt_ids"], *row["completion_ids"]])
            attended[place, :end] = 1
            learned[place, start:end] = 1
        return {
            "input_ids": ids,
            "attention_mask": attended,
            "completion_mask": learned,
            "advantages": torch.tensor([row["advantage"] for row in rows]),
            "scales": torch.tensor([row["scale"] for row in rows]),
        }
