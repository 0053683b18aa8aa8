"""The CustomResourceDefinition of a kind: names, subresources, columns and the schema of spec and status."""

from __future__ import annotations

from typing import Any, Final

from hack.crd.generator import with_rules
from hack.crd.structural import structural
from modelgarden.api.base import Rule
from modelgarden.api.kinds import Column, Kind
from modelgarden.api.names import API_VERSION, CATEGORY, GROUP, MAX_NAME_LENGTH, VERSION

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


def _reference_rules(kind: Kind) -> tuple[Rule, ...]:
    """Return the rules that no object of a kind refers to itself."""
    return tuple(
        _no_self_reference(".".join(("spec", *reference.path)))
        for reference in kind.references
        if reference.kind == kind.name
    )


def _no_self_reference(field: str) -> Rule:
    return Rule(
        rule=f"!has(self.{field}) || self.{field}.name != self.metadata.name",
        message=f"{field} must name another object: this one would wait for itself",
        field_path=f".{field}.name",
    )


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
    return with_rules(schema, (*NAME_RULES, *_reference_rules(kind)))


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "description": column.description,
        "jsonPath": column.json_path,
        **({"priority": 1} if column.wide else {}),
    }
