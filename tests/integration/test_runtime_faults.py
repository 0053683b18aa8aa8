"""The API server misbehaves, and the operator comes through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from hack.cluster import ControlPlane
from modelgarden.kube.resources import JOBS
from tests.integration.conftest import OPERATORS
from tests.integration.harness.api import Api, phase
from tests.integration.harness.faults import Event, Faults, faulty_api, watches
from tests.integration.harness.garden import Garden
from tests.integration.harness.process import OperatorProcess
from tests.integration.harness.waiting import wait_for


@pytest.fixture
def faults(cluster: ControlPlane, tmp_path: Path) -> Iterator[Faults]:
    """The API server behind a proxy that still does no harm."""
    with faulty_api(cluster.kubeconfig, tmp_path) as found:
        yield found


@pytest.fixture
def operator(faults: Faults, namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    """An operator of the test's namespace that goes through the proxy, without a Lease that could end it."""
    settings = {
        "watch_namespaces": namespace,
        "leader_election": False,
        "resync_seconds": 2,
        "log_level": "DEBUG",
    }
    process = OperatorProcess(faults.kubeconfig, tmp_path / "operator.log", settings)
    OPERATORS.append(process)
    process.start()
    process.wait_until_leading()
    yield process
    process.kill()
    OPERATORS.remove(process)


def prepare(garden: Garden, name: str) -> None:
    """Create a job and wait until it is prepared."""
    garden.create_finetunejob(name)
    wait_for(
        lambda: phase(garden.finetunejob(name)) == "Preparing", timeout=60, what=f"{name} to be prepared"
    )


def uid_of(api: Api, namespace: str, name: str) -> str:
    """Return a Job's UID."""
    job = api.get(JOBS, namespace, name)
    assert job is not None, f"Job {name} is not there"
    return str(job["metadata"]["uid"])


@pytest.mark.parametrize("status", [403, 410, 429, 500, 503])
def test_a_watch_that_is_refused_for_a_while_goes_on_afterwards(
    faults: Faults, operator: OperatorProcess, garden: Garden, status: int
) -> None:
    pid = operator.pid
    prepare(garden, "before")

    def end(event: Event) -> Event:
        return {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}

    faults.change = end  # ends the watches that are open
    faults.refuse = lambda request: status if watches(request, "finetunejobs") else None
    garden.create_finetunejob("during")
    wait_for(lambda: faults.refused >= 2, timeout=60, what="the watch to be refused twice")
    faults.change = lambda event: event
    faults.refuse = lambda _: None
    prepare(garden, "after")
    wait_for(lambda: phase(garden.finetunejob("during")) == "Preparing")
    assert (operator.running, operator.pid) == (True, pid)


def test_an_error_within_the_watch_is_survived(
    faults: Faults, operator: OperatorProcess, garden: Garden
) -> None:
    pid = operator.pid
    prepare(garden, "before")
    error: Event = {"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd is away"}}
    faults.change = lambda _: error
    garden.create_finetunejob("during")
    wait_for(lambda: faults.changed, what="an error in a watch")
    faults.change = lambda event: event
    wait_for(lambda: operator.metric("modelgarden_watch_restarts_total"), what="new watches")
    prepare(garden, "after")
    wait_for(lambda: phase(garden.finetunejob("during")) == "Preparing")
    assert (operator.running, operator.pid) == (True, pid)


def test_a_deletion_that_the_watch_swallowed_is_repaired_by_a_resync(
    api: Api, faults: Faults, operator: OperatorProcess, garden: Garden
) -> None:
    prepare(garden, "job")
    first = uid_of(api, garden.namespace, "job-prepare")

    def swallow(event: Event) -> Event | None:
        deleted = event["type"] == "DELETED" and event["object"]["kind"] in ("Job", "Pod")
        return None if deleted else event

    faults.change = swallow
    api.delete(JOBS, garden.namespace, "job-prepare")
    wait_for(lambda: uid_of(api, garden.namespace, "job-prepare") != first, what="a new prepare Job")
    assert operator.metric("modelgarden_resync_repairs_total", kind="Job") >= 1


def test_a_creation_that_the_watch_swallowed_is_repaired_by_a_resync(
    faults: Faults, operator: OperatorProcess, garden: Garden
) -> None:
    def repairs() -> float:
        return operator.metric("modelgarden_resync_repairs_total", kind="FineTuneJob")

    prepare(garden, "first")  # whatever the test before did to the watch: from here on it is up
    before = repairs()
    faults.change = lambda event: None if event["object"]["kind"] == "FineTuneJob" else event
    prepare(garden, "job")
    assert repairs() > before


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_writes_that_fail_every_second_time_get_done(
    api: Api, faults: Faults, operator: OperatorProcess, garden: Garden, status: int
) -> None:
    turns = iter(range(10**9))

    def refuse(request: web.Request) -> int | None:
        return status if request.method in ("PATCH", "POST") and next(turns) % 2 == 0 else None

    faults.refuse = refuse
    for number in range(4):
        garden.create_finetunejob(f"job-{number}")
    for number in range(4):
        wait_for(lambda name=f"job-{number}": phase(garden.finetunejob(name)) == "Preparing", timeout=60)  # type: ignore[misc]
    assert faults.refused > 0
    assert len(api.list(JOBS, garden.namespace)) == 4


def test_a_child_that_the_api_server_refuses_blocks_its_owner_with_the_reason_and_recovers(
    faults: Faults, operator: OperatorProcess, garden: Garden
) -> None:
    def refuse(request: web.Request) -> int | None:
        return 403 if request.method == "PATCH" and request.path.endswith("/jobs/refused-prepare") else None

    faults.refuse = refuse
    garden.create_finetunejob("refused")
    prepare(garden, "other")

    def accepted() -> dict[str, Any]:
        conditions = garden.finetunejob("refused").get("status", {}).get("conditions", [])
        found: dict[str, Any] = next((one for one in conditions if one["type"] == "Accepted"), {})
        return found

    wait_for(lambda: accepted().get("reason") == "ApplyRejected")
    assert accepted()["message"] == "refused by the test"
    assert phase(garden.finetunejob("refused")) == "Blocked"
    faults.refuse = lambda _: None
    wait_for(lambda: phase(garden.finetunejob("refused")) == "Preparing", timeout=60)


def test_lost_credentials_end_the_process(faults: Faults, operator: OperatorProcess, garden: Garden) -> None:
    faults.refuse = lambda _: 401
    garden.create_finetunejob("job")
    assert operator.wait(timeout=60) == 1
    assert "refuses the credentials" in operator.tail()
