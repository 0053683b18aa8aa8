"""What counts as a change by somebody else, of objects as the API server gives them back, and what puts it right."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from modelgarden.kube.drift import repair
from modelgarden.serving.manifests import service

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


TEMPLATE: dict[str, Any] = {
    "initContainers": [{"name": "fetch", "image": "serve:1", "args": ["fetch"], "env": []}],
    "containers": [
        {
            "name": "serve",
            "image": "serve:1",
            "args": ["serve"],
            "env": [
                {"name": "CONFIG", "value": "{}"},
                {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            ],
            "resources": {"requests": {"cpu": "1000m"}},
        }
    ],
}


def deployment(template: dict[str, Any]) -> dict[str, Any]:
    metadata = {"namespace": "team", "name": "bot-1"}
    spec = {"replicas": 1, "template": {"spec": template}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def live_template() -> dict[str, Any]:
    """Return the pods' template as the API server gives it back, with what others may add."""
    found = copy.deepcopy(TEMPLATE)
    serve = found["containers"][0]
    serve["env"][1]["valueFrom"]["fieldRef"]["apiVersion"] = "v1"
    serve["env"].append({"name": "PROXY", "value": "http://proxy"})
    serve |= {"resources": {"requests": {"cpu": "1"}}, "terminationMessagePath": "/dev/termination-log"}
    del found["initContainers"][0]["env"]
    found["containers"].insert(0, {"name": "sidecar", "image": "proxy:1"})
    return {**found, "dnsPolicy": "ClusterFirst"}


def test_what_others_add_to_a_deployment_is_theirs() -> None:
    assert repair(deployment(TEMPLATE), deployment(live_template())) is None


@pytest.mark.parametrize(
    "change",
    [
        {"image": "serve:2"},
        {"args": ["serve", "--quick"]},
        {"command": ["sleep"]},
        {"env": []},
        {"env": [{"name": "CONFIG", "value": "{}"}, {"name": "POD", "value": "me"}]},
        {"name": "another"},
    ],
)
def test_a_deployment_whose_containers_run_something_else_is_put_right(change: dict[str, Any]) -> None:
    found = live_template()
    found["containers"][1] |= change

    patch = repair(deployment(TEMPLATE), deployment(found))

    assert patch == {"spec": {"template": {"spec": TEMPLATE}}}


def test_a_deployment_without_its_first_container_is_put_right() -> None:
    found = {**live_template(), "initContainers": []}

    assert repair(deployment(TEMPLATE), deployment(found)) == {"spec": {"template": {"spec": TEMPLATE}}}


def test_other_kinds_are_left_alone() -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "bot"}, "spec": {"suspend": False}}

    assert repair(job, {**job, "spec": {"suspend": True}}) is None


def labelled(**labels: str) -> dict[str, Any]:
    found = deployment(TEMPLATE)
    found["metadata"] = {**found["metadata"], "labels": labels}
    found["spec"]["template"] = {**found["spec"]["template"], "metadata": {"labels": labels}}
    return found


def test_labels_that_somebody_changed_are_put_right() -> None:
    wanted = labelled(team="search", app="bot")

    patch = repair(wanted, labelled(team="other", app="bot", more="1"))

    labels = {"team": "search", "app": "bot"}
    assert patch == {"metadata": {"labels": labels}, "spec": {"template": {"metadata": {"labels": labels}}}}


def test_labels_that_somebody_added_are_theirs() -> None:
    assert repair(labelled(app="bot"), labelled(app="bot", more="1")) is None
