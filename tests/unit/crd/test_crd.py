"""From models to CRDs: what is generated, and what the generator refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from hack import crds, docs
from hack.crd import SchemaError, custom_resource_definition, structural
from hack.generated import stale
from modelgarden.api.base import ApiModel, Rule
from modelgarden.api.kinds import KINDS, Kind

MAX_BYTES = 150_000
"""Of the 256 KiB that `kubectl apply` has for its annotation."""

Text = Annotated[str, Field(max_length=10)]


def _version(kind: Kind) -> dict[str, Any]:
    version: dict[str, Any] = custom_resource_definition(kind)["spec"]["versions"][0]
    return version


def _fields(schema: dict[str, Any], path: str = "spec") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from _fields(field.get("items", field), f"{path}.{name}")


def test_committed_files_are_current() -> None:
    assert stale({**crds.files(), **docs.files()}) == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_crd_is_small_enough_for_client_side_apply(kind: Kind) -> None:
    crd = custom_resource_definition(kind)

    assert len(crds.crd_text(crd).encode()) < MAX_BYTES
    assert len(json.dumps(crd, separators=(",", ":")).encode()) < MAX_BYTES


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_version_of_documents_is_none_of_a_resource(kind: Kind) -> None:
    assert "schemaVersion" not in json.dumps(custom_resource_definition(kind))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_description_gives_the_default_that_the_schema_has(kind: Kind) -> None:
    spec = _version(kind)["schema"]["openAPIV3Schema"]["properties"]["spec"]
    documented = 0
    for path, field in _fields(spec):
        default = field.get("default")
        if isinstance(default, str | int | float | bool):
            found = re.search(r"Default: ([^\s,;]+?)[,;.]?(\s|$)", field["description"])
            assert found, f"{path}: {field['description']}"
            said = found[1]
            assert (said if isinstance(default, str) else json.loads(said)) == default, path
            documented += 1
    assert documented >= 5


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_columns_point_at_fields_of_the_schema(kind: Kind) -> None:
    version = _version(kind)
    for column in version["additionalPrinterColumns"]:
        if column["name"] == "Age" or "?(@" in column["jsonPath"]:
            continue
        schema = version["schema"]["openAPIV3Schema"]
        for name in column["jsonPath"].strip(".").split("."):
            schema = schema["properties"][name]
        assert schema["type"] == column["type"]


def test_a_null_default_is_an_absent_field_and_a_model_default_is_empty() -> None:
    class Inner(ApiModel):
        """Inner."""

        size: Annotated[int, Field(ge=1)] = Field(default=2, description="Size. Default: 2.")

    class Outer(ApiModel):
        """Outer."""

        inner: Inner = Field(default=Inner(), description="Something.")
        other: Inner = Field(default=Inner(size=3), description="Something else.")
        text: Text | None = Field(default=None, description="Text. Default: none.")
        one: Literal["A"] = Field(default="A", description="One. Default: A.")

    properties = structural(Outer, spec=True)["properties"]

    assert properties["inner"] == {
        "description": "Something.",
        "type": "object",
        "default": {},
        "properties": {
            "size": {"description": "Size. Default: 2.", "type": "integer", "default": 2, "minimum": 1}
        },
    }
    assert properties["other"]["default"] == {"size": 3}
    assert properties["text"] == {"description": "Text. Default: none.", "type": "string", "maxLength": 10}
    assert properties["one"]["enum"] == ["A"]


def test_rules_lie_at_the_node_of_their_model() -> None:
    class Inner(ApiModel):
        """Inner."""

        text: Text = Field(description="Text.")
        cel_rules: ClassVar[tuple[Rule, ...]] = (
            Rule(rule="self.text != 'x'", message="not x", field_path=".text"),
        )

    class Outer(ApiModel):
        """Outer."""

        inner: tuple[Inner, ...] = Field(max_length=3, description="Some.")

    items = structural(Outer, spec=True)["properties"]["inner"]["items"]

    assert items["x-kubernetes-validations"] == [
        {"rule": "self.text != 'x'", "message": "not x", "fieldPath": ".text"}
    ]


def test_a_fractional_minimum_is_a_rule_too() -> None:
    class Model(ApiModel):
        """Model."""

        share: Annotated[float, Field(ge=0.5, le=2.0)] = Field(description="Share.")
        factor: Annotated[float, Field(ge=1.0, le=2.0)] = Field(description="Factor.")

    properties = structural(Model, spec=True)["properties"]

    assert properties["share"]["x-kubernetes-validations"][0]["rule"] == "self >= 0.5"
    assert "x-kubernetes-validations" not in properties["factor"]


class _NoDescription(ApiModel):
    """Model."""

    text: Text


class _NoDefaultWords(ApiModel):
    """Model."""

    text: Text = Field(default="a", description="Text.")


class _NoLength(ApiModel):
    """Model."""

    text: str = Field(description="Text.")


class _NoListBound(ApiModel):
    """Model."""

    texts: tuple[Text, ...] = Field(description="Texts.")


class _NoItemBound(ApiModel):
    """Model."""

    texts: tuple[str, ...] = Field(max_length=3, description="Texts.")


class _NoMapBound(ApiModel):
    """Model."""

    texts: dict[str, Text] = Field(description="Texts.")


class _Exclusive(ApiModel):
    """Model."""

    size: Annotated[int, Field(gt=0)] = Field(description="Size.")


class _Union(ApiModel):
    """Model."""

    value: Text | bool = Field(description="Value.")


class _Anything(ApiModel):
    """Model."""

    value: Any = Field(description="Value.")


@pytest.mark.parametrize(
    ("model", "want"),
    [
        (_NoDescription, r"text: lacks a description"),
        (_NoDefaultWords, r"text: the description lacks the default"),
        (_NoLength, r"text: lacks maxLength"),
        (_NoListBound, r"texts: lacks maxItems"),
        (_NoItemBound, r"texts\.items: lacks maxLength"),
        (_NoMapBound, r"texts: lacks maxProperties"),
        (_Exclusive, r"size: a structural schema has no exclusiveMinimum"),
        (_Union, r"a union must be of an integer and a string"),
        (_Anything, r"value: the type is unknown"),
    ],
)
def test_a_model_that_cannot_be_a_crd_is_refused(model: type[ApiModel], want: str) -> None:
    with pytest.raises(SchemaError, match=want):
        structural(model, spec=True)
