"""The base of every API model, the types that specs share, and how a CEL rule and its Python twin are declared.

Models are frozen and strict. Read them from JSON (`model_validate_json`), as the API server does: strict mode then
takes an array for a tuple and refuses a string for a number, exactly like the generated schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from modelgarden.api.tolerance import read_readable


@dataclass(frozen=True)
class Rule:
    """One CEL rule of a CRD node: `x-kubernetes-validations`. The model's validator holds the same rule in Python."""

    rule: str
    message: str
    field_path: str | None = None


def on_a_value(*rules: Rule) -> dict[str, Any]:
    """Return what a field's schema has more, where rules are on a value rather than on an object."""
    return {"x-kubernetes-validations": [{"rule": one.rule, "message": one.message} for one in rules]}


class ApiModel(BaseModel):
    """A frozen, strict model with camelCase names on the wire."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, populate_by_name=True
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = ()
    """CEL rules of this object, for the CRD."""

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Parse a JSON-like mapping, reading nulls and numbers as the API server does.

        Raises:
            pydantic.ValidationError: the value does not fit the model.
        """
        text = json.dumps(_as_the_api_server_reads(value))
        return cls.model_validate_json(text, by_alias=True, by_name=False)

    @classmethod
    def readable(cls, value: Mapping[str, Any]) -> Self:
        """Parse what this version can read of a mapping that another version may have written.

        What the API does not have or cannot read is left out, see `tolerance`.

        Raises:
            pydantic.ValidationError: a field without a default is missing or cannot be read.
        """
        return read_readable(cls.from_dict, cls.upgraded(value))[0]

    @classmethod
    def upgraded(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a mapping that an earlier version wrote in the form of this one, for `readable` and documents."""
        return value

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form with wire names, without fields that are None."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


_MAX_SAFE_INTEGER = 2**53 - 1


def _as_the_api_server_reads(value: Any) -> Any:
    """Return a JSON value without its fields that are null and with whole floats such as 1e3 as integers."""
    if isinstance(value, Mapping):
        return {key: _as_the_api_server_reads(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_as_the_api_server_reads(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= _MAX_SAFE_INTEGER:
        return int(value)
    return value


_SEGMENT = r"[A-Za-z0-9_=+-][A-Za-z0-9_.=+-]*"
BUCKET_PATTERN = r"(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]|gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9])"
"""A bucket of S3 or of GCS (https://docs.cloud.google.com/storage/docs/buckets#naming)."""
STORAGE_PATTERN = rf"{BUCKET_PATTERN}(/{_SEGMENT})*"
HF_PATTERN = r"hf://[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*"
DNS_SUBDOMAIN_PATTERN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
LABEL_KEY_PATTERN = (
    r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
)
LABEL_VALUE_PATTERN = r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$"
MODEL_NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
QUANTITY_PATTERN = r"^([1-9][0-9]{0,11}(\.[0-9]{1,3})?|0\.[0-9]{0,2}[1-9])(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"

_NO_BUCKET = r"^(s3|gs)://([^/]*[.][.]|[0-9]+[.][0-9]+[.][0-9]+[.][0-9]+(/|$))"
BUCKET_RULE = Rule(
    rule=f"!self.matches('{_NO_BUCKET}')",
    message="a bucket's name must have no two dots in a row, and must not be an IP address",
)
"""Of a string that may be an s3:// or gs:// URI (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html)."""


def _names_a_bucket(uri: str) -> str:
    if re.match(_NO_BUCKET, uri):
        raise ValueError(BUCKET_RULE.message)
    return uri


IN_A_BUCKET = AfterValidator(_names_a_bucket)
"""Holds BUCKET_RULE."""

StorageUri = Annotated[
    str,
    Field(pattern=rf"^{STORAGE_PATTERN}$", max_length=1024, json_schema_extra=on_a_value(BUCKET_RULE)),
    IN_A_BUCKET,
]
ModelUri = Annotated[
    str,
    Field(
        pattern=rf"^({STORAGE_PATTERN}|{HF_PATTERN})$",
        max_length=1024,
        json_schema_extra=on_a_value(BUCKET_RULE),
    ),
    IN_A_BUCKET,
]
DnsSubdomain = Annotated[str, Field(pattern=DNS_SUBDOMAIN_PATTERN, min_length=1, max_length=253)]
LabelKey = Annotated[str, Field(pattern=LABEL_KEY_PATTERN, max_length=317)]
LabelValue = Annotated[str, Field(pattern=LABEL_VALUE_PATTERN, max_length=63)]
ModelName = Annotated[str, Field(pattern=MODEL_NAME_PATTERN, min_length=1, max_length=63)]
Quantity = Annotated[
    Annotated[int, Field(ge=1, le=999_999_999_999)]
    | Annotated[str, Field(pattern=QUANTITY_PATTERN, max_length=20)],
    Field(json_schema_extra={"x-kubernetes-int-or-string": True}),
]

_FACTORS = {
    "": Fraction(1), "m": Fraction(1, 1000), "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9),
    "T": Fraction(10**12), "Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40),
}  # fmt: skip


@lru_cache(maxsize=1024)  # every look at a resource reads its quantities anew
def amount(quantity: int | str) -> Fraction:
    """Return what a Quantity stands for, in cores or bytes.

    Raises:
        KeyError, ValueError: it is not of QUANTITY_PATTERN.
    """
    text = str(quantity)
    number = text.rstrip("mkKMGTi")
    return Fraction(number) * _FACTORS[text[len(number) :]]


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Decimal = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$", max_length=32)]
"""A decimal number of a status, as a string: Kubernetes API fields carry no floats."""
Timestamp = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}Z$", max_length=32)]
"""RFC 3339 in UTC."""
