"""The table of the kinds, held against what it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from modelgarden.api import names
from modelgarden.api.conditions import TYPES
from modelgarden.api.kinds import BY_NAME, FINETUNEJOB, KINDS, MODELDEPLOYMENT
from modelgarden.kube.resources import CHILDREN

CHART = Path(__file__).resolve().parents[3] / "charts" / "modelgarden"


def _rules(template: str, name: str) -> list[dict[str, Any]]:
    """Return the rules of a template, those that it includes left out."""
    text = (CHART / "templates" / template).read_text().split(f'define "{name}" -}}}}')[1]
    lines = text.split("{{- end }}")[0].splitlines()
    rules: list[dict[str, Any]] = yaml.safe_load("\n".join(line for line in lines if "{{" not in line))
    return rules


def test_every_kind_has_its_own_names() -> None:
    for names_of in ("name", "plural", "short_name", "label"):
        assert len({getattr(kind, names_of) for kind in KINDS}) == len(KINDS), names_of


def test_every_kind_has_conditions() -> None:
    assert list(TYPES) == list(BY_NAME)


def test_references_are_to_kinds_of_the_table_and_to_fields_of_the_spec() -> None:
    for kind in KINDS:
        for reference in kind.references:
            assert reference.kind in BY_NAME
            schema = kind.spec.model_json_schema()
            node = schema
            for name in reference.path:
                node = node["properties"][name]
                choices = node.get("anyOf", [node])
                node = schema["$defs"][choices[0]["$ref"].rsplit("/", 1)[1]]
            assert "name" in node["properties"]


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        ({"model": {"fineTuneJobRef": {"name": "tune"}}}, {(FINETUNEJOB.name, "tune")}),
        ({"model": {"source": "s3://models/base"}}, set()),
        ({"model": {"fineTuneJobRef": {}}}, set()),
        ({"model": {"fineTuneJobRef": None}}, set()),
        ({"model": None}, set()),
        ({}, set()),
    ],
)
def test_a_spec_refers_to(spec: dict[str, Any], want: set[tuple[str, str]]) -> None:
    assert MODELDEPLOYMENT.referred(spec) == want
    assert FINETUNEJOB.referred(spec) == want


def test_only_a_kind_with_a_time_to_live_may_be_deleted() -> None:
    rules = _rules("_kinds.tpl", "modelgarden.kindRules")

    deletable = {name for rule in rules if "delete" in rule["verbs"] for name in rule["resources"]}

    assert deletable == {"finetunejobs"}


def test_the_operator_may_watch_what_is_made_for_its_kinds() -> None:
    rules = _rules("_helpers.tpl", "modelgarden.rules")
    watched = {
        (group, name)
        for rule in rules
        if {"get", "list", "watch"} <= set(rule["verbs"])
        for group in rule["apiGroups"]
        for name in rule["resources"]
    }

    assert watched == {(child.group, child.plural) for child in CHILDREN}
    assert not any(names.GROUP in rule["apiGroups"] for rule in rules)
