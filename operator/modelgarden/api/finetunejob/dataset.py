"""The training data of a FineTuneJob."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from modelgarden.api.base import ApiModel, Quantity, Rule
from modelgarden.api.common import TrainingResources, exactly_one, require_within, within
from modelgarden.api.finetunejob.quality import Quality
from modelgarden.api.finetunejob.source import (
    FORMATS,
    SOURCE_FORMS,
    DatasetFormat,
    DatasetSource,
    Source,
    SourceUri,
    names_file,
    require_file,
)

_FORMAT_OF_SOURCES: Final = "format is that of source; set it in sources"
_GIVEN_OR_SPLIT: Final = "validationSources are given, so that nothing is split off; remove validationSplit"
_OVERLAP_OF_GIVEN: Final = "overlap is that with validationSources; set them, or remove overlap"
_SPLIT: Final = 0.1

BAD_ROWS_PATTERN: Final = r"^([0-9]{1,9}|[0-9]{1,2}(\.[0-9]{1,3})?%|100%)$"
BadRows = Annotated[
    Annotated[int, Field(ge=0, le=999_999_999)]
    | Annotated[str, Field(pattern=BAD_ROWS_PATTERN, max_length=20)],
    Field(json_schema_extra={"x-kubernetes-int-or-string": True}),
]


class Preparation(ApiModel):
    """What becomes of the rows, wherever they lie: what the spec and the pods' configuration share."""

    validation_split: Annotated[float, Field(ge=0.01, le=0.5)] | None = Field(
        default=None,
        description="Share of the distinct prompts that is held out for evaluation, never trained on. Default: 0.1; none "
        "with validationSources.",
    )
    validation_sources: tuple[Source, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=32,
        description="Rows for evaluation, never trained on; then validationSplit must not be set. Default: none, they are "
        "split off.",
    )
    max_bad_rows: BadRows = Field(
        default=0,
        description="Rows that may be wrong, a number or a share of all such as 10%: they are dropped and counted as "
        "BadRow. With more, the job is Blocked as DatasetInvalid, which names the first of them. Default: 0.",
    )
    chat_template: Annotated[str, Field(min_length=1, max_length=32768)] | None = Field(
        default=None,
        description="Jinja text that renders conversations in the place of the base model's own chat template, which it "
        "replaces in the artifact too. Default: none, the model's own, or a plain one where it has none.",
    )
    test_split: Annotated[float, Field(ge=0, le=0.4)] = Field(
        default=0,
        description="Share of the distinct prompts that is put aside in dataset/test.parquet of the run: never trained on, "
        "and no choice is made on it. Default: 0, none.",
    )
    quality: Quality = Field(
        default=Quality(),
        description="What is looked for in the rows, and what becomes of those it is found in.",
    )

    @property
    def validation_share(self) -> float:
        """Share of the prompts that is split off for evaluation; 0 where rows for it are given."""
        if self.validation_sources:
            return 0.0
        return _SPLIT if self.validation_split is None else self.validation_split


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

    cel_rules: ClassVar[tuple[Rule, ...]] = within(TrainingResources.minimum)

    @model_validator(mode="after")
    def _is_between_minimum_and_maximum(self) -> Self:
        require_within(TrainingResources.minimum, {"cpu": self.cpu, "memory": self.memory})
        return self


class Dataset(Preparation):
    """The training data."""

    source: SourceUri | None = Field(
        default=None,
        description="Where the rows lie, each of at most 4 MiB: JSON Lines, JSON, CSV or Parquet, also as gzip or zstd. "
        f"{SOURCE_FORMS}. "
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
        Rule(
            rule="!has(self.validationSources) || !has(self.validationSplit)",
            message=_GIVEN_OR_SPLIT,
            field_path=".validationSplit",
        ),
        Rule(
            rule="has(self.validationSources) || !has(self.quality) || !has(self.quality.overlap)",
            message=_OVERLAP_OF_GIVEN,
            field_path=".quality.overlap",
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

    @model_validator(mode="after")
    def _validation_is_given_or_split(self) -> Self:
        if self.validation_sources is not None and self.validation_split is not None:
            raise ValueError(_GIVEN_OR_SPLIT)
        if self.validation_sources is None and self.quality.overlap is not None:
            raise ValueError(_OVERLAP_OF_GIVEN)
        return self

    @property
    def all_sources(self) -> tuple[Source, ...]:
        """The sources of all rows: those to train on, then those of validation."""
        return (*self.training_sources, *(self.validation_sources or ()))

    @property
    def training_sources(self) -> tuple[DatasetSource, ...]:
        """The sources of the rows to train on, in the form of several, where the short form is used too."""
        if self.source is not None:
            return (DatasetSource(uri=self.source, format=self.format),)
        return self.sources or ()
