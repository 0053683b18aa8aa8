"""A spec that an older CRD let through and this operator cannot read: told with what to do, and mended in place.

The CRDs are replaced under the stored objects, as an upgrade does it; hence a control plane of this module's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from hack.cluster import ControlPlane, S3Server
from modelgarden.kube.resources import DEPLOYMENTS, EVENTS, FINETUNEJOBS, JOBS, MODELDEPLOYMENTS, Resource
from tests.integration.conftest import (
    LEASE_NAMESPACE,
    ROOT,
    at_work,
    create_namespace,
    install,
    start_cluster,
    wait_until_served,
)
from tests.integration.harness.api import Api, Obj, Refused, condition, path_of, phase
from tests.integration.harness.garden import Garden
from tests.integration.harness.node import FakeNode
from tests.integration.harness.process import OperatorProcess
from tests.integration.harness.waiting import wait_for

FOUND_SECONDS = 10.0
MENDED_SECONDS = 30.0

TOO_MANY: Obj = {"backoffLimit": 500}
NO_GPU: Obj = {"method": "QLoRA"}
RESERVED: Obj = {"engine": {"extraArgs": ["--host=0.0.0.0"]}}


def older_crds() -> list[Obj]:
    """Return the CRDs without the bound and the rules that the specs above break."""
    found = []
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        crd: dict[str, Any] = yaml.safe_load(file.read_text())
        spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        spec["x-kubernetes-validations"] = [
            rule
            for rule in spec["x-kubernetes-validations"]
            if "QLoRA needs a GPU" not in rule["message"] and "extraArgs must not set" not in rule["message"]
        ]
        spec["properties"].get("backoffLimit", {}).pop("maximum", None)
        found.append(crd)
    return found


def accepts(api: Api, resource: Resource, obj: Obj) -> bool:
    """Tell whether the API server would take an object."""
    try:
        api.call("POST", f"{path_of(resource, obj['metadata']['namespace'])}?dryRun=All", obj)
    except Refused as refused:
        return refused.status != 422
    return True


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with the older CRDs."""
    started = start_cluster(tmp_path_factory.mktemp("upgraded"))
    try:
        for crd in older_crds():
            started.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(crd))
        wait_until_served(started)
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def upgraded(control_plane: ControlPlane, s3: S3Server) -> Garden:
    """A namespace with objects that today's CRDs refuse; the CRDs are today's by now."""
    api = Api(control_plane.kubeconfig)
    garden = Garden(api, s3, create_namespace(api))
    garden.plant()
    garden.create_finetunejob("limited", **TOO_MANY)
    garden.create_finetunejob("quantised", **NO_GPU)
    garden.create_modeldeployment("server", **RESERVED)
    install(control_plane)

    def refused() -> bool:
        next_job = garden.finetunejob_manifest("next", **{**TOO_MANY, **NO_GPU})
        next_server = garden.modeldeployment_manifest("next", **RESERVED)
        return not accepts(api, FINETUNEJOBS, next_job) and not accepts(api, MODELDEPLOYMENTS, next_server)

    wait_for(refused, 30, what="today's CRDs in force")
    return garden


@pytest.fixture(scope="module", autouse=True)
def operator(
    control_plane: ControlPlane, upgraded: Garden, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """The operator that belongs to today's CRDs."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    settings = {"lease_namespace": LEASE_NAMESPACE, "log_level": "DEBUG"}
    yield from at_work(OperatorProcess(control_plane.kubeconfig, log, settings))


def finetunejob(garden: Garden, name: str) -> Obj:
    """Return a FineTuneJob once it is told that its spec is invalid."""

    def told() -> Obj:
        job = garden.finetunejob(name)
        accepted = condition(job, "Accepted")
        assert (accepted.get("status"), accepted.get("reason")) == ("False", "InvalidSpec"), job.get("status")
        return job

    return wait_for(told, FOUND_SECONDS, what=f"{name} to be told")


def events_about(garden: Garden, name: str) -> list[str]:
    """Return the reasons of the events about an object."""
    found = garden.api.list(EVENTS, garden.namespace)
    return [one["reason"] for one in found if one["regarding"]["name"] == name]


def test_a_field_out_of_bounds_is_told_and_correcting_it_is_enough(upgraded: Garden) -> None:
    job = finetunejob(upgraded, "limited")

    message = condition(job, "Accepted")["message"]
    assert message.startswith("spec.backoffLimit: Input should be less than or equal to 100.")
    assert "Correct the field" in message
    assert phase(job) == "Blocked"
    assert upgraded.api.get(JOBS, upgraded.namespace, "limited-prepare") is None
    wait_for(
        lambda: events_about(upgraded, "limited") == ["InvalidSpec"], FOUND_SECONDS, what="the event, once"
    )

    upgraded.api.merge(FINETUNEJOBS, job, {"spec": {"backoffLimit": 2}})

    FakeNode(upgraded.api, upgraded.namespace).wait_for_pod("limited-prepare", MENDED_SECONDS)
    wait_for(lambda: phase(upgraded.finetunejob("limited")) == "Preparing", MENDED_SECONDS)
    after = upgraded.finetunejob("limited")
    assert condition(after, "Accepted")["status"] == "True"
    assert after["metadata"]["uid"] == job["metadata"]["uid"]


def test_a_field_that_cannot_be_changed_is_told_with_the_way_out(upgraded: Garden) -> None:
    job = finetunejob(upgraded, "quantised")

    message = condition(job, "Accepted")["message"]
    assert "method QLoRA needs a GPU; set resources.gpus to 1 or use LoRA" in message
    assert "create a new FineTuneJob" in message
    assert phase(job) == "Blocked"
    with pytest.raises(Refused, match="immutable"):
        upgraded.api.merge(FINETUNEJOBS, job, {"spec": {"method": "LoRA"}})


def test_a_model_deployment_is_told_and_correcting_it_is_enough(upgraded: Garden) -> None:
    def told() -> Obj:
        found = upgraded.modeldeployment("server")
        assert condition(found, "Accepted").get("reason") == "InvalidSpec", found.get("status")
        return found

    found = wait_for(told, FOUND_SECONDS, what="the ModelDeployment to be told")
    message = condition(found, "Accepted")["message"]
    assert condition(found, "Accepted")["status"] == "False"
    assert message.startswith("spec: ")
    assert "engine.extraArgs must not set --host, which the operator sets" in message
    assert phase(found) == "Blocked"
    assert upgraded.api.list(DEPLOYMENTS, upgraded.namespace) == []
    wait_for(
        lambda: events_about(upgraded, "server") == ["InvalidSpec"], FOUND_SECONDS, what="the event, once"
    )

    upgraded.api.merge(MODELDEPLOYMENTS, found, {"spec": {"engine": {"extraArgs": []}}})

    wait_for(
        lambda: upgraded.api.list(DEPLOYMENTS, upgraded.namespace), MENDED_SECONDS, what="the Deployment"
    )
    wait_for(
        lambda: condition(upgraded.modeldeployment("server"), "Accepted")["status"] == "True",
        MENDED_SECONDS,
        what="Accepted=True",
    )
    assert upgraded.modeldeployment("server")["metadata"]["uid"] == found["metadata"]["uid"]
