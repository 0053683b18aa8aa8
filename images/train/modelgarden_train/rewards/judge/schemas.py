"""Type JSONSchema: 1 for JSON that fits a schema. Nothing is fetched: a schema stands for itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema_specifications import REGISTRY
from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from modelgarden_train.rewards.completion import Completion
from modelgarden_train.rewards.judge.deadline import OutOfTime, deadline
from modelgarden_train.rewards.judge.errors import RewardError
from modelgarden_train.rewards.judge.fences import unfenced

_REFERENCES: Final = ("$ref", "$dynamicRef")


class SchemaJudge:
    """Holds completions against a schema."""

    def __init__(self, document: str, *, seconds: float) -> None:
        """Read the schema; a comparison ends after these seconds.

        Raises:
            RewardError: it is no schema, or refers to one that is elsewhere.
        """
        schema = _read(document)
        resource = DRAFT202012.create_resource(schema)
        registry = REGISTRY.with_resource("", resource).crawl()
        _check_references(resource, registry.resolver_with_root(resource))
        self._validator = Draft202012Validator(schema, registry=registry)
        self._seconds = seconds

    def __call__(self, completions: Sequence[Completion]) -> list[float]:
        """Return the worth of each completion."""
        return [float(self._fits(completion.text)) for completion in completions]

    def _fits(self, text: str) -> bool:
        try:
            with deadline(self._seconds):
                value = json.loads(unfenced(text, "json"), parse_constant=_refuse)
                return bool(self._validator.is_valid(value))
        except (Exception, OutOfTime):  # noqa: BLE001 -- whatever a completion has the libraries raise, it does not fit
            return False


def _read(document: str) -> Any:
    try:
        schema = json.loads(document, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise RewardError(f"the schema is no JSON: {error}") from error
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise RewardError(f"{error.json_path} of the schema is wrong: {error.message}") from error
    return schema


def _check_references(resource: Resource[Any], resolver: Any) -> None:
    contents = resource.contents
    for name in _REFERENCES:
        reference = contents.get(name) if isinstance(contents, dict) else None
        try:
            if reference is not None:
                resolver.lookup(reference)
        except Unresolvable as error:
            raise RewardError(
                f"the schema refers to {reference}, which is not in it, and others are not fetched"
            ) from error
    for part in resource.subresources():
        _check_references(part, resolver.in_subresource(part))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
