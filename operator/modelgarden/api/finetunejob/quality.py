"""What is looked for in the rows of a dataset before a GPU is taken, and what becomes of a row where it is found."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from modelgarden.api.base import ApiModel

Action = Literal["Keep", "Flag", "Drop", "Fail"]
Removal = Literal["Drop", "Fail"]
"""Of rows that cannot be trained on."""
Reason = Literal[
    "Duplicate",
    "Overlap",
    "NearDuplicate",
    "EmptyAnswer",
    "TooLong",
    "TooShort",
    "CutOffAnswer",
    "Profanity",
    "Email",
    "Secret",
]
"""Why a row was flagged or dropped, as the status counts it."""


class Quality(ApiModel):
    """What becomes of a row in which something is found.

    Keep: nothing, and it is not looked for. Flag: counted and named in the report, and trained on. Drop: counted and
    left out. Fail: the job is Blocked as DatasetInvalid, naming file and line.
    """

    duplicates: Action = Field(
        default="Drop", description="Rows that are equal to an earlier one. Default: Drop."
    )
    overlap: Action | None = Field(
        default=None,
        description="Rows to train on whose prompt stands in validationSources too. Default: Drop.",
    )
    near_duplicates: Action = Field(
        default="Keep",
        description="Rows that are almost equal to an earlier one: see nearDuplicateThreshold. Default: Keep.",
    )
    near_duplicate_threshold: Annotated[float, Field(ge=0.7, le=1)] = Field(
        default=0.8,
        description="Share of their runs of five characters that near duplicates have in common (Jaccard, estimated by "
        "MinHash with a standard error of at most 0.04). Default: 0.8.",
    )
    too_long: Removal = Field(
        default="Drop", description="Rows of more tokens than training.maxSequenceLength. Default: Drop."
    )
    min_tokens: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=0, description="Tokens that a row has at least, else tooShort says what to do. Default: 0."
    )
    too_short: Action = Field(
        default="Drop", description="Rows of fewer tokens than minTokens. Default: Drop."
    )
    empty_answers: Removal = Field(default="Fail", description="Rows whose answer is empty. Default: Fail.")
    cut_off_answers: Action = Field(
        default="Keep",
        description="Rows whose answer stops in the middle of a sentence or of a code block. Default: Keep.",
    )
    profanity: Action = Field(
        default="Keep",
        description="Rows that alt-profanity-check, a classifier of English texts, holds to be offensive. Default: Keep.",
    )
    emails: Action = Field(
        default="Keep",
        description="Rows with an e-mail address, but of domains that are reserved for examples. Default: Keep.",
    )
    secrets: Action = Field(
        default="Keep",
        description="Rows with a key, token or private key of a known form, such as AWS, GitHub, Slack, Google, OpenAI "
        "or Hugging Face. Default: Keep.",
    )

    @property
    def finds_near_duplicates(self) -> bool:
        """Whether near duplicates are looked for."""
        return self.near_duplicates != "Keep"

    def action(self, reason: Reason) -> Action:
        """Return what becomes of a row for a reason."""
        action: Action | None = getattr(self, FIELD_OF_REASON[reason])
        return action or "Drop"


FIELD_OF_REASON: Final[dict[Reason, str]] = {
    "EmptyAnswer": "empty_answers",
    "Duplicate": "duplicates",
    "Overlap": "overlap",
    "TooLong": "too_long",
    "TooShort": "too_short",
    "Secret": "secrets",
    "Email": "emails",
    "Profanity": "profanity",
    "CutOffAnswer": "cut_off_answers",
    "NearDuplicate": "near_duplicates",
}
"""The field that says what to do; a row with several reasons to be dropped is counted for the first of them."""
