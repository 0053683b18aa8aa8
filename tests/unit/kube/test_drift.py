"""What counts as a change by somebody else, of objects as the API server gives them back, and what puts it right."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from modelgarden.kube.drift import repair
from modelgarden.serving.resources import service

DESIRED = service("team", "bot")
LABELS = DESIRED["spec"]["selector"]
PORT = DESIRED["spec"]["ports"][0]


def live(**spec: Any) -> dict[str, Any]:
    """Return the Service as the API server gives it back, with fields that somebody changed."""
    found = copy.deepcopy(DESIRED)
    found["spec"] |= {"clusterIP": "10.0.0.7", "sessionAffinity": "None", "ipFamilies": ["IPv4"]} | spec
    return found


def test_what_the_api_server_adds_is_no_drift() -> None:
    assert repair(DESIRED, live(ports=[{**PORT, "nodePort": 30001}])) is None


@pytest.mark.parametrize(
    ("changed", "selector"),
    [
        ({"selector": {**LABELS, "version": "2"}}, {**LABELS, "version": None}),
        ({"selector": {"app": "another"}}, {**LABELS, "app": None}),
        ({"selector": {}}, LABELS),
        ({"selector": None}, LABELS),
        ({"ports": [{**PORT, "port": 8000}]}, LABELS),
        ({"ports": [PORT, {"name": "more", "port": 81, "targetPort": 81, "protocol": "TCP"}]}, LABELS),
        ({"ports": []}, LABELS),
        ({"type": "LoadBalancer"}, LABELS),
    ],
)
def test_a_changed_field_is_put_right_as_a_whole(
    changed: dict[str, Any], selector: dict[str, str | None]
) -> None:
    patch = repair(DESIRED, live(**changed))

    assert patch == {"spec": {"type": "ClusterIP", "selector": selector, "ports": [PORT]}}


def test_other_kinds_are_left_alone() -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "bot"}, "spec": {"suspend": False}}

    assert repair(job, {**job, "spec": {"suspend": True}}) is None
