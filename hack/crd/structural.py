"""The structural schema of a model: references inlined, and refused where a reader would miss a word or a bound.

A structural schema knows no references, nulls, titles or constants. The generator leaves those out where pydantic
makes them; here a model is refused whose fields lack a description, the words for a default or a bound.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from hack.crd.generator import SchemaError, StructuralSchema


def structural(model: type[BaseModel], *, spec: bool) -> dict[str, Any]:
    """Return the structural schema of a model; a spec's optional fields must also describe their default.

    Raises:
        SchemaError: a model cannot be expressed.
    """
    generated = model.model_json_schema(by_alias=True, schema_generator=StructuralSchema)
    schema: dict[str, Any] = _inline(generated, generated.pop("$defs", {}))
    _check(schema, path=model.__name__, spec=spec)
    return schema


_ORDER: Final = ("description", "type", "enum", "default", "required")
"""Keywords that come first, so that a reader finds them in the same place in every field."""


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    """Replace references by what they refer to, with the keywords beside the reference on top."""
    if isinstance(schema, list):
        return [_inline(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix("#/$defs/")
        beside = {keyword: value for keyword, value in schema.items() if keyword != "$ref"}
        return _inline({**definitions[name], **beside}, definitions)
    return _in_order(
        {
            keyword: {name: _inline(field, definitions) for name, field in value.items()}
            if keyword == "properties"
            else value
            if keyword in ("default", "enum", "required")
            else _inline(value, definitions)
            for keyword, value in schema.items()
        }
    )


def _in_order(schema: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = {keyword: schema[keyword] for keyword in _ORDER if keyword in schema}
    return {**first, **{keyword: value for keyword, value in schema.items() if keyword not in first}}


_REFUSED: Final = (
    "$ref",
    "allOf",
    "oneOf",
    "const",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "uniqueItems",
    "title",
    "prefixItems",
    "propertyNames",
)
_BOUNDS: Final = {"array": "maxItems", "string": "maxLength"}


def _check(schema: dict[str, Any], *, path: str, spec: bool) -> None:
    """Refuse what a CRD refuses, or what would leave a reader or the CEL cost estimate without a figure."""
    for keyword in _REFUSED:
        if keyword in schema:
            raise SchemaError(f"{path}: a structural schema has no {keyword}")
    kind = schema.get("type", "int-or-string" if "x-kubernetes-int-or-string" in schema else None)
    if kind is None:
        raise SchemaError(f"{path}: the type is unknown")
    bound = "maxProperties" if "additionalProperties" in schema else _BOUNDS.get(kind)
    if bound and bound not in schema and "enum" not in schema:
        raise SchemaError(f"{path}: lacks {bound}")
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        if not field.get("description"):
            raise SchemaError(f"{path}.{name}: lacks a description")
        if (
            spec
            and name not in required
            and "properties" not in field
            and "Default" not in field["description"]
        ):
            raise SchemaError(f"{path}.{name}: the description lacks the default")
        _check(field, path=f"{path}.{name}", spec=spec)
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            _check(schema[keyword], path=f"{path}.{keyword}", spec=spec)
