"""The base model of a FineTuneJob: one from outside, or the result of an earlier job."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from modelgarden.api.access import LocalReference
from modelgarden.api.base import ApiModel, ModelName, ModelUri, Rule
from modelgarden.api.common import exactly_one
from modelgarden.api.layout import alias_key, version_key

_REVISION_PART: Final = r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*"
REVISION_PATTERN: Final = rf"^[A-Za-z0-9]([A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*)(/{_REVISION_PART})*$"
"""Names of branches and tags as Git takes them (git-check-ref-format): no part is empty, begins or ends with a dot, or has
two in a row."""
MOST_VERSIONS: Final = 999_999_999

_HUB_FIELDS: Final = "revision and tokenSecretRef are for an hf:// source only"


class RegistryReference(ApiModel):
    """A model of the registry: a name, and exactly one of version and alias."""

    name: ModelName = Field(description="Name in the registry: output.modelName of the job that made it.")
    version: Annotated[int, Field(ge=1, le=MOST_VERSIONS)] | None = Field(
        default=None, description="Version of the model. Default: none, alias is given."
    )
    alias: ModelName | None = Field(
        default=None,
        description="Alias of a version, such as latest. It is looked up once, before anything is created. Default: none, "
        "version is given.",
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (exactly_one("version", "alias"),)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.version is None) == (self.alias is None):
            raise ValueError("exactly one of version, alias must be set")
        return self

    @property
    def key(self) -> str:
        """Return the name of what it names below the model's registry URI."""
        return alias_key(str(self.alias)) if self.version is None else version_key(self.version)

    @property
    def words(self) -> str:
        """Return what it names, for a message."""
        return f"alias {self.alias}" if self.version is None else f"version {self.version}"


class BaseModelSource(ApiModel):
    """The base model: exactly one of source, fineTuneJobRef and registry."""

    source: ModelUri | None = Field(
        default=None,
        description="Where the base model lies: s3://bucket/prefix or gs://bucket/prefix (a Hugging Face folder), or "
        "hf://org/name. Default: none, an earlier result is given.",
    )
    revision: Annotated[str, Field(pattern=REVISION_PATTERN, max_length=128)] | None = Field(
        default=None,
        description="Branch, tag or commit of an hf:// model. Default: main; the commit is recorded in the manifest.",
    )
    token_secret_ref: LocalReference | None = Field(
        default=None, description="Secret with the key HF_TOKEN for a gated hf:// model. Default: none."
    )
    fine_tune_job_ref: LocalReference | None = Field(
        default=None,
        description="FineTuneJob in the same namespace whose 16-bit merge is trained on. Its end is waited for, so both "
        "can be applied at once. Default: none.",
    )
    registry: RegistryReference | None = Field(
        default=None,
        description="Model in the registry below output.uri whose 16-bit merge is trained on. Default: none.",
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("source", "fineTuneJobRef", "registry"),
        Rule(
            rule="(has(self.source) && self.source.startsWith('hf://')) "
            "|| !(has(self.revision) || has(self.tokenSecretRef))",
            message=_HUB_FIELDS,
        ),
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(one is not None for one in (self.source, self.fine_tune_job_ref, self.registry)) != 1:
            raise ValueError("exactly one of source, fineTuneJobRef, registry must be set")
        return self

    @model_validator(mode="after")
    def _hub_fields_need_the_hub(self) -> Self:
        if not (self.source or "").startswith("hf://") and (self.revision or self.token_secret_ref):
            raise ValueError(_HUB_FIELDS)
        return self
