"""What a ModelDeployment serves."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from modelgarden.api.access import LocalReference
from modelgarden.api.base import ApiModel, Rule, StorageUri
from modelgarden.api.common import exactly_one


class ModelSource(ApiModel):
    """What to serve: exactly one of the fields."""

    fine_tune_job_ref: LocalReference | None = Field(
        default=None,
        description="FineTuneJob in the same namespace whose artifact is served. Its end is waited for, so both can be "
        "applied at once. Default: none.",
    )
    source: StorageUri | None = Field(
        default=None,
        description="s3://bucket/prefix or gs://bucket/prefix: a run of a FineTuneJob (checked against its manifest.json) "
        "or a Hugging Face folder. Default: none.",
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (exactly_one("fineTuneJobRef", "source"),)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.fine_tune_job_ref is None) == (self.source is None):
            raise ValueError("exactly one of fineTuneJobRef, source must be set")
        return self
