"""Which rows an objective learns. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from modelgarden.api.finetunejob import DatasetFormat, ObjectiveType
from modelgarden_pod.errors import UserError
from modelgarden_train.data.rows import Kind, Row

LEARNED_FORMATS: Final[dict[ObjectiveType, tuple[DatasetFormat, ...]]] = {
    "SFT": (
        "PromptCompletion",
        "Messages",
        "Alpaca",
        "InstructionResponse",
        "ShareGPT",
        "LabelStudio",
        "Vision",
        "Text",
    ),
    "DPO": ("Preference",),
    "ORPO": ("Preference",),
    "KTO": ("KTO",),
    "GRPO": (
        "PromptAnswer",
        "PromptCompletion",
        "Messages",
        "Alpaca",
        "InstructionResponse",
        "ShareGPT",
        "LabelStudio",
    ),
}
_OBJECTIVES: Final[dict[Kind, tuple[ObjectiveType, ...]]] = {
    "Conversation": ("SFT", "GRPO"),
    "Text": ("SFT",),
    "Preference": ("DPO", "ORPO"),
    "KTO": ("KTO",),
    "PromptAnswer": ("GRPO",),
    "Vision": ("SFT",),
}
"""That learn rows of a kind."""


def require_learnable(
    row: Row, objective: ObjectiveType, *, vision: bool = False, only_checked: bool = False
) -> None:
    """Hold that an objective learns rows of this kind; `vision` is whether the model is shown images.

    Where rows are only checked, those with images pass in any case.

    Raises:
        UserError: DatasetInvalid, it does not.
    """
    if row.kind == "Vision" and not vision:
        if only_checked:
            return
        raise UserError(
            "DatasetInvalid",
            "rows have images, and modality is Text, which learns text alone; set modality to Vision, objective.type to SFT "
            "and model.source to a vision model, or leave the images out of the rows",
        )
    known = _OBJECTIVES[row.kind]
    if objective in known:
        return
    learned = LEARNED_FORMATS[objective]
    formats = f"{', '.join(learned[:-1])} and {learned[-1]}" if len(learned) > 1 else f"{learned[0]} only"
    raise UserError(
        "DatasetInvalid",
        f"{_told(row)}, and objective.type is {objective}, which learns {formats}; set objective.type to "
        f"{' or '.join(known)}, or bring the rows into {'one of these formats' if len(learned) > 1 else 'this format'}",
    )


def require_both_labels(labels: Iterable[bool | None]) -> None:
    """Hold that rows with labels, which are all to train on, are not all good or all bad: nothing tells what is better then.

    Raises:
        UserError: DatasetInvalid, they are.
    """
    found = Counter(labels)
    for label in (True, False):
        if found[label] and not found[not label]:
            alone = ", or set objective.type to SFT and dataset.format to PromptCompletion to learn good answers alone"
            raise UserError(
                "DatasetInvalid",
                f"all {found[label]} rows to train on have the label {str(label).lower()}, and KTO learns from good and bad "
                f"answers; add rows with the label {str(not label).lower()}{alone if label else ''}",
            )


def _told(row: Row) -> str:
    if row.kind in ("Preference", "KTO", "PromptAnswer"):
        return f"the rows are of the format {row.kind}"
    return "the rows have one answer each"
