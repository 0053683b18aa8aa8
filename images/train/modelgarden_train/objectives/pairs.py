"""Pairs of answers as the tensors of a pass: the better ones, then the worse ones, padded to the longest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.objectives.passes import StepRow


def pair(row: PreparedRow) -> StepRow:
    """Return the token ids of a prompt and of both answers to it, under TRL's names."""
    return {
        "prompt_ids": row.prompt_ids,
        "chosen_ids": row.reference_ids,
        "rejected_ids": row.rejected_ids,
    }


def chosen_tokens(rows: Sequence[StepRow]) -> int:
    """Return the tokens of the better answers."""
    return sum(len(row["chosen_ids"]) for row in rows)


@dataclass(frozen=True)
class Pairs:
    """Pairs of answers; the loss of a step is the mean over its pairs."""

    pad_token: int
    why_padded: str | None = "both answers of a pair go through the model together"

    def tokens(self, row: StepRow) -> int:
        """Return the tokens of both conversations."""
        return 2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"])

    def width(self, row: StepRow) -> int:
        """Return what a pass gives a pair: two conversations as long as the longer one."""
        return 2 * (len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])))

    def weight(self, rows: Sequence[StepRow]) -> int:
        """Return the number of pairs."""
        return len(rows)

    def tensors(self, rows: Sequence[StepRow]) -> dict[str, Any]:
        """Return token ids, attention mask and the mask of the answers; each of shape (2 x pairs, longest)."""
        from trl.trainer.dpo_trainer import DataCollatorForPreference

        return dict(DataCollatorForPreference(pad_token_id=self.pad_token)(list(rows)))
