"""The base model of a FineTuneJob."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from modelgarden.api.base import ApiModel, ModelUri, Rule
from modelgarden.api.common import LocalReference

_REVISION_PART: Final = r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*"
REVISION_PATTERN: Final = rf"^[A-Za-z0-9]([A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*)(/{_REVISION_PART})*$"
"""Names of branches and tags as Git takes them (git-check-ref-format): no part is empty, begins or ends with a dot, or has
two in a row."""


class BaseModelSource(ApiModel):
    """The base model."""

    source: ModelUri = Field(
        description="Where the base model lies: s3://bucket/prefix (a Hugging Face folder) or hf://org/name."
    )
    revision: Annotated[str, Field(pattern=REVISION_PATTERN, max_length=128)] | None = Field(
        default=None,
        description="Branch, tag or commit of an hf:// model. Default: main; the commit is recorded in the manifest.",
    )
    token_secret_ref: LocalReference | None = Field(
        default=None, description="Secret with the key HF_TOKEN for a gated hf:// model. Default: none."
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.source.startsWith('hf://') || !(has(self.revision) || has(self.tokenSecretRef))",
            message="revision and tokenSecretRef are for an hf:// source only",
        ),
    )

    @model_validator(mode="after")
    def _hub_fields_need_the_hub(self) -> Self:
        if not self.source.startswith("hf://") and (self.revision or self.token_secret_ref):
            raise ValueError("revision and tokenSecretRef are for an hf:// source only")
        return self
