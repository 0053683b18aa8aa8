"""What counts as a change by somebody else, of objects as the API server gives them back."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest

from modelgarden.kube.drift import drifted
from modelgarden.kube.quantity import in_units

DESIRED: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "bot", "labels": {"team": "nlp"}},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"team": "nlp"}},
        "template": {
            "metadata": {"labels": {"team": "nlp"}},
            "spec": {
                "nodeSelector": {"disk": "ssd"},
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "containers": [
                    {
                        "name": "serve",
                        "image": "serve:1",
                        "args": ["serve", "--quick"],
                        "env": [{"name": "CONFIG", "value": "{}"}, {"name": "NOTHING", "value": ""}],
                        "resources": {"requests": {"cpu": "1000m", "memory": "1.5Gi"}},
                        "volumeMounts": [
                            {"name": "scratch", "mountPath": "/tmp"},
                            {"name": "scratch", "mountPath": "/work"},
                        ],
                    }
                ],
                "volumes": [{"name": "scratch", "emptyDir": {}}],
            },
        },
    },
}


def served() -> dict[str, Any]:
    """Return the object as the API server gives it back: defaults filled in, quantities in its own form."""
    live = copy.deepcopy(DESIRED)
    live["metadata"]["labels"]["added"] = "by-others"
    spec = live["spec"]["template"]["spec"]
    spec["dnsPolicy"] = "ClusterFirst"
    (container,) = spec["containers"]
    del container["env"][1]["value"]
    container["resources"] = {"requests": {"cpu": "1", "memory": "1536Mi"}}
    container["terminationMessagePath"] = "/dev/termination-log"
    return live


def at(live: dict[str, Any], *path: str | int) -> Any:
    for step in path:
        live = live[step]  # type: ignore[index]
    return live


TEMPLATE = ("spec", "template", "spec")
CONTAINER = (*TEMPLATE, "containers", 0)


def test_what_the_api_server_makes_of_it_is_no_drift() -> None:
    assert not drifted(DESIRED, served())


def test_what_others_add_is_theirs() -> None:
    live = served()
    at(live, *TEMPLATE, "containers").insert(0, {"name": "sidecar", "image": "proxy:1"})
    at(live, *TEMPLATE, "containers", 1, "env").append({"name": "PROXY", "value": "yes"})
    at(live, *TEMPLATE, "containers", 1, "resources", "requests")["ephemeral-storage"] = "1Gi"
    at(live, *TEMPLATE, "volumes").append({"name": "certificates", "emptyDir": {}})

    assert not drifted(DESIRED, live)


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        (("metadata", "labels"), "team", "another"),
        (("spec",), "replicas", 3),
        (TEMPLATE, "nodeSelector", {"disk": "ssd", "zone": "b"}),
        (TEMPLATE, "tolerations", []),
        (TEMPLATE, "volumes", [{"name": "scratch", "hostPath": {"path": "/"}}]),
        (TEMPLATE, "containers", [{"name": "other", "image": "serve:1"}]),
        (CONTAINER, "image", "serve:2"),
        (CONTAINER, "args", ["serve"]),
        (CONTAINER, "args", "serve --quick"),
        (CONTAINER, "env", [{"name": "CONFIG", "value": "{}"}]),
        (CONTAINER, "resources", {"requests": {"cpu": "2", "memory": "1536Mi"}}),
        (CONTAINER, "resources", {"requests": {"cpu": "1"}}),
        (CONTAINER, "volumeMounts", [{"name": "scratch", "mountPath": "/work"}]),
    ],
)
def test_a_field_that_was_applied_and_has_another_value_is_drift(
    path: tuple[str | int, ...], field: str, value: object
) -> None:
    live = served()
    at(live, *path)[field] = value

    assert drifted(DESIRED, live)


@pytest.mark.parametrize("path", [("spec",), TEMPLATE, CONTAINER])
def test_a_field_that_is_gone_is_drift(path: tuple[str | int, ...]) -> None:
    live = served()
    wanted = at(copy.deepcopy(DESIRED), *path)
    name = next(reversed(wanted))
    del at(live, *path)[name]

    assert drifted(DESIRED, live)


def test_a_service_is_selected_by_exactly_the_labels_that_were_applied() -> None:
    service: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "bot"},
        "spec": {"selector": {"app": "bot"}, "ports": [{"name": "http", "port": 80}]},
    }
    live = copy.deepcopy(service)
    live["spec"]["clusterIP"] = "10.0.0.7"

    assert not drifted(service, live)
    live["spec"]["selector"] = {"app": "bot", "version": "2"}
    assert drifted(service, live)


def test_a_job_is_left_to_queues() -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "bot"}, "spec": {"suspend": False}}

    assert not drifted(job, {**job, "spec": {"suspend": True}})


@pytest.mark.parametrize(
    ("quantity", "want"),
    [(2, "2"), ("0.5", "0.5"), ("250m", "0.25"), ("1k", "1000"), ("1.5Gi", "1610612736"), ("1Ki", "1024")],
)
def test_a_quantity_is_a_number_of_its_unit(quantity: int | str, want: str) -> None:
    assert in_units(quantity) == Decimal(want)
