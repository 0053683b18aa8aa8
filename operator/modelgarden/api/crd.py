"""From the API's models to the CustomResourceDefinitions.

Pydantic's JSON schema is not what a CRD takes: a structural schema knows no references, nulls, titles or
constants. `StructuralSchema` leaves those out where pydantic makes them; `structural` inlines the references
and refuses a model whose fields lack a description, the words for a default or a bound. `hack/crds.py` writes
the result to files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from modelgarden.api import finetunejob, modeldeployment
from modelgarden.api.base import ApiModel, Rule
from modelgarden.api.names import API_VERSION, CATEGORY, GROUP, VERSION

MAX_NAME_LENGTH: Final = 40
"""Names of children and of their pods append to the resource's name, and a label takes 63 characters."""

NAME_RULES: Final = (
    Rule(
        rule=f"self.metadata.name.size() <= {MAX_NAME_LENGTH}",
        message=f"metadata.name must have at most {MAX_NAME_LENGTH} characters: Jobs and pods append to it",
        field_path=".metadata.name",
    ),
    Rule(
        rule="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        message="metadata.name must be of lower-case letters, digits and '-' and begin with a letter: "
        "Services and Jobs are named after it",
        field_path=".metadata.name",
    ),
)


class SchemaError(Exception):
    """A model cannot be a CRD: a field lacks a description or a bound, or its type cannot be expressed."""


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`; a wide one is shown with `-o wide` only."""

    name: str
    json_path: str
    description: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True)
class Kind:
    """What a CRD says beside its schema."""

    name: str
    plural: str
    short_name: str
    description: str
    spec: type[ApiModel]
    status: type[ApiModel]
    columns: tuple[Column, ...]
    scale: bool = False


_AGE: Final = Column("Age", ".metadata.creationTimestamp", "Time since creation.", type="date")

FINETUNEJOB: Final = Kind(
    name=finetunejob.KIND,
    plural=finetunejob.PLURAL,
    short_name="ftj",
    description="Tunes a base model on a dataset and registers the artifact in S3.",
    spec=finetunejob.FineTuneJobSpec,
    status=finetunejob.FineTuneJobStatus,
    columns=(
        Column("Phase", ".status.phase", "Summary of the conditions."),
        Column("Progress", ".status.progress.percent", "Percent of the steps.", type="integer"),
        Column("Model", ".spec.model.source", "Base model."),
        Column("Method", ".spec.method", "LoRA, QLoRA or Full."),
        Column("Version", ".status.artifact.version", "Version in the registry.", type="integer"),
        Column("Artifact", ".status.artifact.uri", "Manifest of the artifact.", wide=True),
        Column("Energy(J)", ".status.carbon.energyJoules.total", "Joules.", type="integer", wide=True),
        Column("CO2(mg)", ".status.carbon.emissionsMilligrams", "Milligrams.", type="integer", wide=True),
        _AGE,
    ),
)

MODELDEPLOYMENT: Final = Kind(
    name=modeldeployment.KIND,
    plural=modeldeployment.PLURAL,
    short_name="mdep",
    description="Serves a registered artifact or a model folder in S3 with vLLM.",
    spec=modeldeployment.ModelDeploymentSpec,
    status=modeldeployment.ModelDeploymentStatus,
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether the wanted model answers."),
        Column("Replicas", ".status.readyReplicas", "Pods that answer for the wanted model.", type="integer"),
        Column("Model", ".status.servedModelName", "Model name of the OpenAI API."),
        Column("URL", ".status.url", "URL of the OpenAI API inside the cluster."),
        Column("Phase", ".status.phase", "Summary of the conditions."),
        Column("Version", ".status.artifact.version", "Served version.", type="integer", wide=True),
        Column("Energy(J)", ".status.carbon.total.energyJoules.total", "Joules.", type="integer", wide=True),
        Column(
            "CO2(mg)", ".status.carbon.total.emissionsMilligrams", "Milligrams.", type="integer", wide=True
        ),
        _AGE,
    ),
    scale=True,
)

KINDS: Final = (FINETUNEJOB, MODELDEPLOYMENT)


def custom_resource_definition(kind: Kind) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind.

    Raises:
        SchemaError: a model cannot be expressed.
    """
    subresources: dict[str, Any] = {"status": {}}
    if kind.scale:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short_name],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": subresources,
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                    "schema": {"openAPIV3Schema": _root(kind)},
                }
            ],
        },
    }


def structural(model: type[BaseModel], *, spec: bool) -> dict[str, Any]:
    """Return the structural schema of a model; a spec's optional fields must also describe their default.

    Raises:
        SchemaError: a model cannot be expressed.
    """
    generated = model.model_json_schema(by_alias=True, schema_generator=StructuralSchema)
    schema: dict[str, Any] = _inline(generated, generated.pop("$defs", {}))
    _check(schema, path=model.__name__, spec=spec)
    return schema


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
        return _with_rules(json_schema, rules)

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
        return _with_rules(
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


def _root(kind: Kind) -> dict[str, Any]:
    schema = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{API_VERSION}."},
            "kind": {"type": "string", "description": f"{kind.name}."},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": structural(kind.spec, spec=True),
            "status": structural(kind.status, spec=False),
        },
    }
    return _with_rules(schema, NAME_RULES)


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "description": column.description,
        "jsonPath": column.json_path,
        **({"priority": 1} if column.wide else {}),
    }


def _with_rules(schema: dict[str, Any], rules: tuple[Rule, ...]) -> dict[str, Any]:
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
