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
}
"""That learn rows of a kind; those of other kinds are for what this version does not train by."""
_ELSEWHERE: Final[dict[Kind, str]] = {
    "Vision": "rows with images are for vision models",
}


def require_learnable(row: Row, objective: ObjectiveType, *, only_checked: bool = False) -> None:
    """Hold that an objective learns rows of this kind; all rows of a source are of one.

    Of rows that are only checked those pass, too, that no objective of this version learns.

    Raises:
        UserError: DatasetInvalid, it does not.
    """
    known = _OBJECTIVES.get(row.kind, ())
    if objective in known or (only_checked and not known):
        return
    learned = LEARNED_FORMATS[objective]
    formats = f"{', '.join(learned[:-1])} and {learned[-1]}" if len(learned) > 1 else f"{learned[0]} only"
    wish = f"set objective.type to {' or '.join(known)}, " if known else ""
    without = "" if known else ", or set dryRun to check them without training"
    raise UserError(
        "DatasetInvalid",
        f"{_told(row)}, and objective.type is {objective}, which learns {formats}; {wish}{'or ' if wish else ''}bring the "
        f"rows into {'one of these formats' if len(learned) > 1 else 'this format'}{without}",
    )


def require_both_labels(labels: Iterable[bool | None]) -> None:
    """Hold that rows with labels, which are all to train on, are not all good or all bad: nothing tells what is better then.

    Raises:
        UserError: DatasetInvalid, they are.
    """
    found = Counter(labels)
    for label in (True, False):
        if found[label] and not found[not label]:
            raise UserError(
                "DatasetInvalid",
                f"all {found[label]} rows to train on have the label {str(label).lower()}, and KTO learns from good and bad "
                f"answers; add rows with the label {str(not label).lower()}, or set objective.type to SFT and "
                "dataset.format to PromptCompletion to learn good answers alone",
            )


def _told(row: Row) -> str:
    if row.kind in _ELSEWHERE:
        return f"{_ELSEWHERE[row.kind]}, which this version does not train by"
    if row.kind in ("Preference", "KTO", "PromptAnswer"):
        return f"the rows are of the format {row.kind}"
    return "the rows have one answer each"
