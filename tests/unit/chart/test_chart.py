"""The chart's files against what they stand for: the settings, the schema of the values, the project's version."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from modelgarden.api.hosts import HOST_PATTERN
from modelgarden.api.kinds import KINDS
from modelgarden.api.zones import ZONES
from modelgarden.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "modelgarden"


def _yaml(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CHART / name).read_text())
    return loaded


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    found: dict[str, Any] = schema["definitions"][node["$ref"].rsplit("/", 1)[1]]
    return found


def _paths(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}{name}.")


def _schema_paths(schema: dict[str, Any], node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, inner in node.get("properties", {}).items():
        yield f"{prefix}{name}"
        yield from _schema_paths(schema, _resolved(schema, inner), f"{prefix}{name}.")


def test_every_value_is_in_the_schema_and_the_other_way_round() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    open_ended = ("resources.", "global")

    described = {path for path in _schema_paths(schema, schema) if not path.startswith(open_ended)}
    given = {path for path in _paths(_yaml("values.yaml")) if not path.startswith(open_ended)}

    assert given == described


def test_every_object_of_the_schema_that_names_its_fields_refuses_others() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def check(node: dict[str, Any], path: str) -> None:
        if "properties" in node:
            assert node.get("additionalProperties") is False, path
        for name, inner in node.get("properties", {}).items():
            check(_resolved(schema, inner), f"{path}.{name}")

    check(schema, "")


def test_every_value_has_a_comment() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[a-z]\w*:", line):
            around = (lines[number - 1], *lines[number + 1 : number + 2])
            assert any(other.strip().startswith("#") for other in around), line


def test_variables_are_settings_of_the_operator() -> None:
    template = (CHART / "templates" / "deployment.yaml").read_text()

    variables = set(re.findall(r"name: MODELGARDEN_(\w+)", template))

    assert {variable.lower() for variable in variables} <= set(Settings.model_fields)
    required = {name for name, field in Settings.model_fields.items() if field.is_required()}
    assert required <= {variable.lower() for variable in variables}


def test_ports_are_the_defaults_of_the_settings() -> None:
    template = (CHART / "templates" / "deployment.yaml").read_text()

    ports = dict(re.findall(r"- name: (\w+)\n\s+containerPort: (\d+)", template))

    assert ports == {
        "metrics": str(Settings.model_fields["metrics_port"].default),
        "health": str(Settings.model_fields["health_port"].default),
    }


def test_defaults_of_the_values_are_those_of_the_settings() -> None:
    values, fields = _yaml("values.yaml"), Settings.model_fields

    assert values["carbon"]["defaultPue"] == fields["default_pue"].default
    assert values["cost"] == {"gpuHour": {}, "currency": fields["currency"].default}
    assert values["logLevel"] == fields["log_level"].default
    assert values["logFormat"] == fields["log_format"].default
    assert values["clusterDomain"] == fields["cluster_domain"].default
    assert values["images"]["pullPolicy"] == fields["image_pull_policy"].default


def test_the_chart_has_the_version_of_the_project_and_lists_its_kinds() -> None:
    chart = _yaml("Chart.yaml")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert chart["appVersion"] == project["version"]
    listed = yaml.safe_load(chart["annotations"]["artifacthub.io/crds"])
    assert [(crd["kind"], crd["description"]) for crd in listed] == [
        (kind.name, kind.description) for kind in KINDS
    ]


def test_the_default_zone_is_one_with_a_known_intensity() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    zones = schema["properties"]["carbon"]["properties"]["defaultZone"]["enum"]

    assert zones == ["", *sorted(ZONES)]


def test_allowed_hosts_are_of_the_form_that_the_operator_takes() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    hosts = schema["properties"]["dataset"]["properties"]["allowedHosts"]

    assert hosts["items"]["pattern"] == HOST_PATTERN
    assert _yaml("values.yaml")["dataset"]["allowedHosts"] == []
