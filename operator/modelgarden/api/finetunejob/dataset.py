"""The training data of a FineTuneJob."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelgarden.api.base import ApiModel, S3Uri

DatasetFormat = Literal["Auto", "PromptCompletion", "Messages"]


class Dataset(ApiModel):
    """The training data."""

    source: S3Uri = Field(description="JSON Lines file in S3: s3://bucket/path.jsonl, one object per line.")
    format: DatasetFormat = Field(
        default="Auto",
        description="PromptCompletion: fields prompt and completion. Messages: field messages with role and content. "
        "Default: Auto, decided by the first row; every row must then have that format.",
    )
    validation_split: Annotated[float, Field(ge=0.01, le=0.5)] = Field(
        default=0.1,
        description="Share of the distinct prompts that is held out for evaluation, never trained on. Default: 0.1.",
    )
