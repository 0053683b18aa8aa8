"""The training data of a FineTuneJob."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from modelgarden.api.base import ApiModel, Quantity, Rule
from modelgarden.api.common import TrainingResources, at_least, exactly_one, require_at_least
from modelgarden.api.finetunejob.source import (
    FORMATS,
    SOURCE_FORMS,
    DatasetFormat,
    DatasetSource,
    SourceUri,
    names_file,
    require_file,
)

_FORMAT_OF_SOURCES: Final = "format is that of source; set it in sources"


class Preparation(ApiModel):
    """What becomes of the rows, wherever they lie: what the spec and the pods' configuration share."""

    validation_split: Annotated[float, Field(ge=0.01, le=0.5)] = Field(
        default=0.1,
        description="Share of the distinct prompts that is held out for evaluation, never trained on. Default: 0.1.",
    )
    chat_template: Annotated[str, Field(min_length=1, max_length=32768)] | None = Field(
        default=None,
        description="Jinja text that renders conversations in the place of the base model's own chat template, which it "
        "replaces in the artifact too. Default: none, the model's own, or a plain one where it has none.",
    )


class PrepareResources(ApiModel):
    """Compute of the prepare pod, which takes no GPU."""

    cpu: Quantity | None = Field(
        default=None,
        description="CPU request in cores. Default: 500m, or resources.cpu where that is less.",
    )
    memory: Quantity | None = Field(
        default=None,
        description="Memory request and limit in bytes. Default: 2Gi, or resources.memory where that is less.",
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = at_least(TrainingResources.minimum)

    @model_validator(mode="after")
    def _has_the_minimum(self) -> Self:
        require_at_least(TrainingResources.minimum, {"cpu": self.cpu, "memory": self.memory})
        return self


class Dataset(Preparation):
    """The training data."""

    source: SourceUri | None = Field(
        default=None,
        description=f"Where the rows lie, JSON Lines of at most 4 MiB a row. {SOURCE_FORMS}. "
        "Default: none, sources is given.",
    )
    format: DatasetFormat = Field(default="Auto", description=FORMATS)
    sources: tuple[DatasetSource, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=32,
        description="Several sources, or one with more to say of it. Default: none, source is given.",
    )
    resources: PrepareResources = Field(default=PrepareResources(), description="Compute of the prepare pod.")

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("source", "sources"),
        names_file("source"),
        Rule(
            rule="!has(self.sources) || self.format == 'Auto'",
            message=_FORMAT_OF_SOURCES,
            field_path=".format",
        ),
    )

    @model_validator(mode="after")
    def _one_form_is_used(self) -> Self:
        if (self.source is None) == (self.sources is None):
            raise ValueError("exactly one of source, sources must be set")
        if self.sources is not None and self.format != "Auto":
            raise ValueError(_FORMAT_OF_SOURCES)
        require_file("source", self.source)
        return self

    @property
    def all_sources(self) -> tuple[DatasetSource, ...]:
        """Return the sources in the form of several, where the short form is used too."""
        if self.source is not None:
            return (DatasetSource(uri=self.source, format=self.format),)
        return self.sources or ()
