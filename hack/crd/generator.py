"""Pydantic's JSON schema without what a structural schema has no word for: titles, nulls, constants, most unions."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from modelgarden.api.base import ApiModel, Rule


class SchemaError(Exception):
    """A model cannot be a CRD: a field lacks a description or a bound, or its type cannot be expressed."""


def with_rules(schema: dict[str, Any], rules: tuple[Rule, ...]) -> dict[str, Any]:
    """Return a schema with CEL rules at its node."""
    if not rules:
        return schema
    validations = [
        {
            "rule": rule.rule,
            "message": rule.message,
            **({"fieldPath": rule.field_path} if rule.field_path else {}),
        }
        for rule in rules
    ]
    return {**schema, "x-kubernetes-validations": validations}


class StructuralSchema(GenerateJsonSchema):
    """Pydantic's generator, without what a structural schema has no word for."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Leave titles out: they repeat the name."""
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Add the model's CEL rules. Unknown fields need no word: the API server prunes or refuses them."""
        json_schema = super().model_schema(schema)
        json_schema.pop("title", None)
        json_schema.pop("additionalProperties", None)
        rules = schema["cls"].cel_rules if issubclass(schema["cls"], ApiModel) else ()
        return with_rules(json_schema, rules)

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """An optional field is one that may be absent; a null is dropped by the API server."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Write a default that is a value; of a model only what differs from its fields' own defaults."""
        json_schema = self.generate_inner(schema["schema"])
        default = schema["default_factory"]() if "default_factory" in schema else schema.get("default")  # type: ignore[call-arg]
        if default is None:
            return json_schema
        if isinstance(default, BaseModel):
            encoded = default.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        else:
            encoded = self.encode_default(default)
        return {**json_schema, "default": encoded}

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        """Hold a fractional minimum by a rule too: the API server truncates it when it compares an integer with it."""
        json_schema = super().float_schema(schema)
        minimum = json_schema.get("minimum", 0)
        if float(minimum).is_integer():
            return json_schema
        return with_rules(
            json_schema, (Rule(rule=f"self >= {minimum}", message=f"must be at least {minimum}"),)
        )

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        """Write a single value as an enumeration too."""
        json_schema = super().literal_schema(schema)
        if "const" in json_schema:
            json_schema["enum"] = [json_schema.pop("const")]
        return json_schema

    def union_schema(self, schema: core_schema.UnionSchema) -> JsonSchemaValue:
        """Write a union of an integer and a string, the only one that a CRD knows, with both bounds."""
        integer, string = sorted(
            (self.generate_inner(choice) for choice in core_schema.iter_union_choices(schema)),
            key=lambda choice: str(choice.get("type")),
        )
        if (integer.pop("type"), string.pop("type")) != ("integer", "string"):
            raise SchemaError("a union must be of an integer and a string")
        return {"anyOf": [{"type": "integer"}, {"type": "string"}], **integer, **string}
