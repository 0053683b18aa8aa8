"""The training data of a FineTuneJob."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from modelgarden.api.base import ApiModel, Rule, S3Uri

DatasetFormat = Literal[
    "Auto",
    "PromptCompletion",
    "Messages",
    "Alpaca",
    "InstructionResponse",
    "ShareGPT",
    "Text",
    "Preference",
    "KTO",
    "PromptAnswer",
    "Vision",
]
"""Names of the formats that a dataset's rows may have; docs/datasets.md has an example of each."""


class Dataset(ApiModel):
    """The training data."""

    source: S3Uri = Field(
        description="JSON Lines file in S3: s3://bucket/path.jsonl, one object per line of at most 4 MiB."
    )
    format: DatasetFormat = Field(
        default="Auto",
        description="PromptCompletion: prompt, completion. Messages: messages with role and content, tool calls, images. "
        "Alpaca: instruction, input, output. InstructionResponse: instruction, response. ShareGPT: conversations with "
        "from and value. Text: text. Preference: prompt, chosen, rejected. KTO: prompt, completion, label. PromptAnswer: "
        "prompt, answer. Vision: image, text, response. SFT learns the first six. "
        "Default: Auto, decided by the first row; every row must then have that format.",
    )
    validation_split: Annotated[float, Field(ge=0.01, le=0.5)] = Field(
        default=0.1,
        description="Share of the distinct prompts that is held out for evaluation, never trained on. Default: 0.1.",
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.source.matches('^s3://[^/]+/')",
            message="source must name a file in the bucket: s3://bucket/path.jsonl",
            field_path=".source",
        ),
    )

    @model_validator(mode="after")
    def _source_names_a_file(self) -> Self:
        if "/" not in self.source.removeprefix("s3://"):
            raise ValueError("source must name a file in the bucket: s3://bucket/path.jsonl")
        return self
