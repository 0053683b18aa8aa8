"""Where the artifact of a FineTuneJob goes, and in which formats."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from modelgarden.api.base import ApiModel, ModelName, StorageUri

ArtifactFormat = Literal["Adapter", "Merged16Bit"]
USED_FORMAT: Final[ArtifactFormat] = "Merged16Bit"
"""What is served of an artifact, and trained on from."""


class Output(ApiModel):
    """Where the artifact goes."""

    uri: StorageUri = Field(
        description="Root of the garden: s3://bucket/prefix or gs://bucket/prefix. Runs and the registry lie under it."
    )
    formats: tuple[ArtifactFormat, ...] = Field(
        default=("Merged16Bit",),
        min_length=1,
        max_length=2,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Adapter: the LoRA weights. Merged16Bit: the whole model in 16 bit, which ModelDeployment serves. "
        "Default: [Merged16Bit].",
    )
    model_name: ModelName = Field(
        description="Name in the registry; each successful job adds a version and moves the alias latest."
    )

    @model_validator(mode="after")
    def _formats_are_a_set(self) -> Self:
        if len(set(self.formats)) != len(self.formats):
            raise ValueError("formats must not repeat")
        return self
