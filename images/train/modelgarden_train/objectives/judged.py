"""Answers that are good or bad as the tensors of a pass, each also beside an answer to another prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.objectives.passes import StepRow


def judged(rows: Sequence[PreparedRow]) -> Iterator[StepRow]:
    """Yield the token ids of prompts and answers under TRL's names, with the answer of the row before.

    What the model makes of that answer, which has nothing to do with the prompt, tells how far it is from the base model.
    """
    before = rows[-1].reference_ids
    for row in rows:
        answer = row.reference_ids
        yield {
            "prompt_ids": row.prompt_ids,
            "completion_ids": answer,
            "KL_completion_ids": before,
            "label": row.label,
        }
        before = answer


@dataclass(frozen=True)
class Judged:
    """Answers with labels; the loss of a step is the mean over its rows."""

    pad_token: int
    why_padded: str | None = (
        "each answer goes through the model by itself, and beside an answer to another prompt"
    )

    def tokens(self, row: StepRow) -> int:
        """Return the tokens of prompt and answer."""
        return len(row["prompt_ids"]) + len(row["completion_ids"])

    def width(self, row: StepRow) -> int:
        """Return what a pass gives a row: the longer of its two conversations."""
        return len(row["prompt_ids"]) + max(len(row["completion_ids"]), len(row["KL_completion_ids"]))

    def weight(self, rows: Sequence[StepRow]) -> int:
        """Return the number of rows."""
        return len(rows)

    def tensors(self, rows: Sequence[StepRow]) -> dict[str, Any]:
        """Return token ids, attention mask and the mask of the answers, each of shape (rows, longest), and labels; all but
        the labels also, as KL_, of the other answers.
        """
        from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

        return dict(DataCollatorForUnpairedPreference(pad_token_id=self.pad_token)(list(rows)))
