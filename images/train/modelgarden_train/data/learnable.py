"""Which rows the objective of a job learns. Pure."""

from __future__ import annotations

from typing import Final

from modelgarden.api.finetunejob import DatasetFormat
from modelgarden_pod.errors import UserError
from modelgarden_train.data.rows import Kind, Row

SFT_FORMATS: Final[tuple[DatasetFormat, ...]] = (
    "PromptCompletion",
    "Messages",
    "Alpaca",
    "InstructionResponse",
    "ShareGPT",
    "LabelStudio",
    "Text",
)
_ELSEWHERE: Final[dict[Kind, str]] = {
    "Preference": "rows of the format Preference are for preference training (DPO, ORPO)",
    "KTO": "rows of the format KTO are for preference training with labels",
    "PromptAnswer": "rows of the format PromptAnswer are for reinforcement learning (GRPO)",
    "Vision": "rows with images are for vision models",
}


def require_learnable(row: Row) -> None:
    """Hold that supervised fine-tuning learns rows of this kind; all rows of a source are of one.

    Raises:
        UserError: DatasetInvalid, it does not.
    """
    if row.kind not in _ELSEWHERE:
        return
    raise UserError(
        "DatasetInvalid",
        f"{_ELSEWHERE[row.kind]}, and this version trains by supervised fine-tuning only, which learns "
        f"{', '.join(SFT_FORMATS[:-1])} and {SFT_FORMATS[-1]}; bring the rows into one of these formats, or set dryRun to "
        "check them without training",
    )
