"""The API server goes away and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.cluster import ControlPlane, S3Server
from tests.integration.conftest import OPERATORS, StartOperator, create_namespace, install, start_cluster
from tests.integration.harness.api import Api, phase
from tests.integration.harness.garden import Garden
from tests.integration.harness.process import OperatorProcess
from tests.integration.harness.waiting import wait_for


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of this module's own: its controllers need a while to get over an outage."""
    started = start_cluster(tmp_path_factory.mktemp("control-plane"))
    install(started)
    yield started
    started.stop()


@pytest.fixture
def own_garden(own_cluster: ControlPlane, s3: S3Server) -> Garden:
    """A planted namespace on that control plane."""
    api = Api(own_cluster.kubeconfig)
    garden = Garden(api, s3, create_namespace(api))
    garden.plant()
    return garden


@pytest.fixture
def start(own_cluster: ControlPlane, own_garden: Garden, tmp_path: Path) -> Iterator[StartOperator]:
    """Starts an operator of the namespace."""
    started: list[OperatorProcess] = []

    def start(**settings: object) -> OperatorProcess:
        own = {"watch_namespaces": own_garden.namespace, "lease_namespace": own_garden.namespace, **settings}
        process = OperatorProcess(own_cluster.kubeconfig, tmp_path / "operator.log", own)
        started.append(process)
        OPERATORS.append(process)
        process.start()
        process.wait_until_leading()
        return process

    yield start
    for process in started:
        process.kill()
        OPERATORS.remove(process)


def prepare(garden: Garden, name: str) -> None:
    """Create a job and wait until it is prepared."""
    garden.create_finetunejob(name)
    wait_for(
        lambda: phase(garden.finetunejob(name)) == "Preparing", timeout=60, what=f"{name} to be prepared"
    )


def test_without_a_lease_an_absence_is_survived(
    own_cluster: ControlPlane, own_garden: Garden, start: StartOperator
) -> None:
    operator = start(leader_election=False, resync_seconds=1)
    pid = operator.pid
    prepare(own_garden, "before")
    own_cluster.apiserver.stop()
    try:
        wait_for(
            lambda: operator.metric("modelgarden_api_errors_total", code="0"), what="an unanswered request"
        )
    finally:
        own_cluster.apiserver.start()
    prepare(own_garden, "after")
    assert (operator.running, operator.pid) == (True, pid)


def test_with_a_lease_an_absence_ends_the_leader_and_its_successor_waits_for_the_api_server(
    own_cluster: ControlPlane, own_garden: Garden, start: StartOperator
) -> None:
    leader = start()
    prepare(own_garden, "before")
    own_cluster.apiserver.stop()
    try:
        assert leader.wait(timeout=30) == 1
        assert "The Lease was not renewed" in leader.tail()
        leader.start(ready=False)  # as the kubelet does
        wait_for(lambda: leader.health() == (200, "ok"), timeout=60, what="health without an API server")
    finally:
        own_cluster.apiserver.start()
    leader.wait_until_leading()
    prepare(own_garden, "after")
