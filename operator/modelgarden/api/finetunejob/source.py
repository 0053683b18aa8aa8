"""Where rows of a dataset lie, and how they are to be read."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from modelgarden.api.access import LocalReference
from modelgarden.api.base import (
    BUCKET_PATTERN,
    BUCKET_RULE,
    HF_PATTERN,
    IN_A_BUCKET,
    ApiModel,
    Rule,
    on_a_value,
)
from modelgarden.api.finetunejob.model import REVISION_PATTERN

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
    "LabelStudio",
]
"""Names of the formats that a dataset's rows may have; docs/datasets.md has an example of each."""

_FILES_SEGMENT: Final = r"[A-Za-z0-9_=+*?-][A-Za-z0-9_.=+*?-]*"
STORAGE_FILES_PATTERN: Final = rf"{BUCKET_PATTERN}(/{_FILES_SEGMENT})*/?"
_OBJECT_NAME: Final = r"[a-z0-9][a-z0-9.-]*"
CLAIM_PATTERN: Final = rf"pvc://{_OBJECT_NAME}(/{_FILES_SEGMENT})+/?"
CONFIG_MAP_PATTERN: Final = rf"configmap://{_OBJECT_NAME}/[A-Za-z0-9_-][A-Za-z0-9._-]*"
WEB_PATTERN: Final = r"https://[a-z0-9][a-z0-9.-]*[a-z0-9](/[A-Za-z0-9._~%!$&'()*+,;=:@-]+)+"
_PATTERNS: Final = (STORAGE_FILES_PATTERN, HF_PATTERN, CLAIM_PATTERN, CONFIG_MAP_PATTERN, WEB_PATTERN)
HUB_NAME_PATTERN: Final = r"^[A-Za-z0-9_][A-Za-z0-9_. -]*$"
_FORM: Final = rf"^({'|'.join(_PATTERNS)})$"
FORM_RULE: Final = Rule(
    rule=f'self.matches(r"{_FORM}")',
    message="must be s3://bucket/path, gs://bucket/path, hf://org/name, pvc://claim/path, configmap://name/key or "
    "https://host/path; without blanks, and https:// without ? and what follows (presigned URLs are not supported)",
)
"""A rule, as the message of a schema's pattern is the pattern."""


def _has_a_form(uri: str) -> str:
    if not re.fullmatch(_FORM.strip("^$"), uri):
        raise ValueError(FORM_RULE.message)
    return uri


SourceUri = Annotated[
    str,
    Field(max_length=1024, json_schema_extra=on_a_value(FORM_RULE, BUCKET_RULE)),
    AfterValidator(_has_a_form),
    IN_A_BUCKET,
]
HubName = Annotated[str, Field(pattern=HUB_NAME_PATTERN, max_length=128)]

SOURCE_FORMS: Final = (
    "s3://bucket/path.jsonl is one file, s3://bucket/folder/ all below it, s3://bucket/part-*.jsonl those that fit (* and ? "
    "within a part of the path, ** for any folders); gs://bucket/... is the same in GCS. hf://org/name is a dataset of the "
    "Hugging Face hub, pvc://claim/path files of a PersistentVolumeClaim (as in a bucket), configmap://name/key a key of a "
    "ConfigMap, https://host/path one file of a host that the operator allows. A name in a bucket or a claim that ends with "
    ".dvc is a pointer of DVC, which is followed to its remote in S3 or GCS"
)
FORMATS: Final = (
    "PromptCompletion: prompt, completion. Messages: messages with role and content, tool calls, images. "
    "Alpaca: instruction, input, output. InstructionResponse: instruction, response. ShareGPT: conversations with "
    "from and value. Text: text. Preference: prompt, chosen, rejected. KTO: prompt, completion, label. PromptAnswer: "
    "prompt, answer. Vision: image, text, response. LabelStudio: an export of it, "
    "JSON or JSON_MIN. SFT learns the first six and LabelStudio, DPO and ORPO learn Preference, KTO learns "
    "KTO. "
    "Default: Auto, decided by the first row; every row must then have that format."
)
_HUB_FIELDS: Final = ("config", "split", "revision", "token_secret_ref")
_HUB_ONLY: Final = "config, split, revision and tokenSecretRef are for an hf:// source only"
_NO_FILE: Final = "must name a file in the bucket, s3://bucket/path.jsonl, or a folder, s3://bucket/folder/"


def names_file(field: str) -> Rule:
    """Return the CEL rule that the URI in a field, where there is one, names more than a bucket."""
    return Rule(
        rule=f"!has(self.{field}) || !self.{field}.matches('^(s3|gs)://[^/]+/?$')",
        message=f"{field} {_NO_FILE}",
        field_path=f".{field}",
    )


def require_file(field: str, uri: str | None) -> None:
    """Hold the rule of `names_file`.

    Raises:
        ValueError: the URI names nothing but a bucket.
    """
    if uri is not None and re.match(r"(s3|gs)://[^/]+/?$", uri):
        raise ValueError(f"{field} {_NO_FILE}")


class Source(ApiModel):
    """One place with rows."""

    uri: SourceUri = Field(description=f"Where the rows lie. {SOURCE_FORMS}.")
    format: DatasetFormat = Field(default="Auto", description=FORMATS)
    columns: dict[str, Annotated[str, Field(min_length=1, max_length=256)]] = Field(
        default_factory=dict,
        max_length=16,
        description="Fields of the format under other names in the file, {prompt: question}. Default: none.",
    )
    config: HubName | None = Field(
        default=None, description="Configuration (subset) of an hf:// dataset. Default: the dataset's own."
    )
    split: HubName | None = Field(default=None, description="Split of an hf:// dataset. Default: train.")
    revision: Annotated[str, Field(pattern=REVISION_PATTERN, max_length=128)] | None = Field(
        default=None,
        description="Branch, tag or commit of an hf:// dataset. Default: main; the commit is recorded in the manifest.",
    )
    token_secret_ref: LocalReference | None = Field(
        default=None,
        description="Secret with the key HF_TOKEN for a gated hf:// dataset. Default: that of the model, if any.",
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        names_file("uri"),
        Rule(
            rule="self.uri.startsWith('hf://') "
            "|| !(has(self.config) || has(self.split) || has(self.revision) || has(self.tokenSecretRef))",
            message=_HUB_ONLY,
        ),
    )

    @model_validator(mode="after")
    def _names_a_file(self) -> Self:
        require_file("uri", self.uri)
        return self

    @model_validator(mode="after")
    def _hub_fields_need_the_hub(self) -> Self:
        if not self.uri.startswith("hf://") and any(getattr(self, name) for name in _HUB_FIELDS):
            raise ValueError(_HUB_ONLY)
        return self


class DatasetSource(Source):
    """One place with rows to train on."""

    weight: Annotated[float, Field(ge=0.01, le=100)] = Field(
        default=1.0,
        description="How often each row is in an epoch: 2.5 is twice, and half of the rows a third time. Rows that are held "
        "out count once. Default: 1.0.",
    )
