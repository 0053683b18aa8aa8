"""Where the artifact of a FineTuneJob goes, and in which formats."""

from __future__ import annotations

from typing import ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from modelgarden.api.base import ApiModel, ModelName, Rule, StorageUri
from modelgarden.api.finetunejob.formats import ArtifactFormat
from modelgarden.api.finetunejob.hub import Hub

GgufQuantization = Literal["Q4_K_M", "Q5_K_M", "Q8_0", "F16"]

_GGUF_UNUSED: Final = "gguf says how the format GGUF is made; add GGUF to formats, or remove gguf"
_NOT_MADE: Final = (
    "hub.format must be one of formats; add it to formats, or set hub.format to one that is made"
)


class Gguf(ApiModel):
    """How the GGUF file is made."""

    quantization: GgufQuantization = Field(
        default="Q4_K_M",
        description="Type of the weights. Q4_K_M: about 4.9 bits each, Q5_K_M: 5.7, Q8_0: 8.5, F16: 16, not quantised. "
        "Default: Q4_K_M.",
    )


class Output(ApiModel):
    """Where the artifact goes."""

    uri: StorageUri = Field(
        description="Root of the garden: s3://bucket/prefix or gs://bucket/prefix. Runs and the registry lie under it."
    )
    formats: tuple[ArtifactFormat, ...] = Field(
        default=("Merged16Bit",),
        min_length=1,
        max_length=3,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Adapter: the LoRA weights. Merged16Bit: the whole model in 16 bit, which ModelDeployment serves. "
        "GGUF: the whole model in one file for llama.cpp and Ollama. Default: [Merged16Bit].",
    )
    gguf: Gguf | None = Field(
        default=None, description="How the GGUF file is made. Only with GGUF in formats."
    )
    model_name: ModelName = Field(
        description="Name in the registry; each successful job adds a version and moves the alias latest."
    )
    hub: Hub | None = Field(
        default=None,
        description="Where the artifact is published once it is registered. Nothing waits for it; the condition Published "
        "tells. Default: nowhere.",
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(rule="!has(self.gguf) || 'GGUF' in self.formats", message=_GGUF_UNUSED, field_path=".gguf"),
        Rule(
            rule="!has(self.hub) || self.hub.format in self.formats",
            message=_NOT_MADE,
            field_path=".hub.format",
        ),
    )

    @model_validator(mode="after")
    def _formats_are_a_set(self) -> Self:
        if len(set(self.formats)) != len(self.formats):
            raise ValueError("formats must not repeat")
        return self

    @model_validator(mode="after")
    def _gguf_is_made(self) -> Self:
        if self.gguf is not None and "GGUF" not in self.formats:
            raise ValueError(_GGUF_UNUSED)
        return self

    @model_validator(mode="after")
    def _what_is_published_is_made(self) -> Self:
        if self.hub is not None and self.hub.format not in self.formats:
            raise ValueError(_NOT_MADE)
        return self
