"""The rows of supervised fine-tuning as the tensors of a pass: one after another, or padded where the model wants it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.evaluation.sight import Sight
from modelgarden_train.objectives.passes import StepRow

IGNORED_LABEL: Final = -100


def labelled(row: PreparedRow) -> StepRow:
    """Return token ids as `input_ids`, and `labels` of the same length; the loss ignores those of what is not learned."""
    labels = [IGNORED_LABEL] * len(row.input_ids)
    for start, end in row.spans:
        labels[start:end] = row.input_ids[start:end]
    return {"input_ids": row.input_ids, "labels": labels}


def seen(row: PreparedRow) -> StepRow:
    """Return the same, and the SHA-256 of the row's images: `pictures`, as TRL would open what has their name."""
    return {**labelled(row), "pictures": list(row.images)}


@dataclass(frozen=True)
class Labelled:
    """Rows with labels; the loss of a step is the mean over its labels."""

    why_padded: str | None
    pad_token: int
    sight: Sight | None = None
    """Of rows with images, which are padded."""

    def tokens(self, row: StepRow) -> int:
        """Return the tokens of a row."""
        return len(row["input_ids"])

    def width(self, row: StepRow) -> int:
        """Return what a pass gives a row."""
        return len(row["input_ids"])

    def weight(self, rows: Sequence[StepRow]) -> int:
        """Return the labels that the loss of a step is the mean over."""
        return sum(label != IGNORED_LABEL for label in _labels(rows))

    def tensors(self, rows: Sequence[StepRow]) -> dict[str, Any]:
        """Return the rows of a pass as the model takes them."""
        if self.why_padded is None:
            return packed(rows)
        tensors = padded(rows, pad_token=self.pad_token)
        if self.sight is None:
            return tensors
        return {**tensors, **self.sight.tensors([row["pictures"] for row in rows], tensors["input_ids"])}


def packed(rows: Sequence[StepRow]) -> dict[str, Any]:
    """Return rows as one sequence, kept apart by their positions and lengths; shapes (1, tokens) and (rows,)."""
    import torch

    lengths = [len(row["input_ids"]) for row in rows]
    return {
        "input_ids": torch.tensor([[token for row in rows for token in row["input_ids"]]]),
        "labels": torch.tensor([_labels(rows)]),
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
        "packed_seq_lengths": torch.tensor(lengths, dtype=torch.int32),
        "use_cache": False,  # with a cache Transformers does not look for where rows begin, and they meet
    }


def padded(rows: Sequence[StepRow], *, pad_token: int) -> dict[str, Any]:
    """Return rows padded on the right to the longest of them; shape (rows, longest)."""
    import torch

    width = max(len(row["input_ids"]) for row in rows)

    def filled(name: str, value: int) -> Any:
        return torch.tensor([row[name] + [value] * (width - len(row[name])) for row in rows])

    ids = filled("input_ids", pad_token)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        mask[place, : len(row["input_ids"])] = 1
    return {"input_ids": ids, "labels": filled("labels", IGNORED_LABEL), "attention_mask": mask}


def _labels(rows: Sequence[StepRow]) -> list[int]:
    """Return the labels one after another; nothing precedes a row's first token, so nothing can predict it."""
    return [label for row in rows for label in (IGNORED_LABEL, *row["labels"][1:])]
