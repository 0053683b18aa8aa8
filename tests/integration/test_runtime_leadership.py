"""Two replicas: one works, the other takes over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from hack.cluster import ControlPlane
from modelgarden.kube.resources import JOBS, LEASES
from modelgarden.runtime.election import Leader, elected
from modelgarden.settings import Settings
from tests.integration.conftest import StartOperator
from tests.integration.harness.api import Api, Obj, phase
from tests.integration.harness.garden import Garden
from tests.integration.harness.process import OperatorProcess
from tests.integration.harness.waiting import stays, wait_for

LEASE = "modelgarden-operator"


@pytest.fixture
def replicas(start_operator: StartOperator) -> tuple[OperatorProcess, OperatorProcess]:
    """The leader and its standby."""
    leader = start_operator(lease_identity="first")
    standby = start_operator(lease_identity="second", leading=False)
    return leader, standby


def acquired(lease: Obj) -> datetime:
    """Return when its holder took it. How long the holder's first work takes afterwards is up to the machine."""
    return datetime.fromisoformat(lease["spec"]["acquireTime"])


def holder(api: Api, namespace: str) -> str | None:
    """Return who holds the Lease."""
    lease = api.get(LEASES, namespace, LEASE)
    found: str | None = lease["spec"].get("holderIdentity") if lease else None
    return found


def prepares(garden: Garden, name: str) -> bool:
    """Create a job and wait until an operator has taken it up."""
    garden.create_finetunejob(name)
    wait_for(lambda: phase(garden.finetunejob(name)) == "Preparing", what=f"{name} to be prepared")
    return True


def test_only_the_holder_of_the_lease_works_and_the_standby_is_healthy_and_ready(
    api: Api, garden: Garden, replicas: tuple[OperatorProcess, OperatorProcess]
) -> None:
    leader, standby = replicas
    assert prepares(garden, "job")
    assert holder(api, garden.namespace) == "first"
    assert (leader.leads(), standby.leads()) == (True, False)
    assert standby.writes() == {}
    assert standby.metric("modelgarden_reconcile_seconds_count") == 0
    assert standby.health() == (200, "ok")


def test_a_killed_leader_is_replaced_within_20_seconds(
    api: Api, garden: Garden, replicas: tuple[OperatorProcess, OperatorProcess]
) -> None:
    leader, standby = replicas
    assert prepares(garden, "before")
    leader.kill()
    killed = datetime.now(UTC)
    garden.create_finetunejob("after")
    wait_for(lambda: phase(garden.finetunejob("after")) == "Preparing", timeout=30)
    assert standby.leads()
    lease = api.get(LEASES, garden.namespace, LEASE)
    assert lease is not None
    assert acquired(lease) - killed < timedelta(seconds=20)
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("second", 1)


def test_a_leader_that_is_told_to_stop_hands_over_within_5_seconds(
    api: Api, garden: Garden, replicas: tuple[OperatorProcess, OperatorProcess]
) -> None:
    leader, _ = replicas
    assert prepares(garden, "before")
    told = datetime.now(UTC)
    garden.create_finetunejob("after")
    assert leader.stop() == 0
    wait_for(lambda: phase(garden.finetunejob("after")) == "Preparing", timeout=20)
    # The first may have taken up the job before it ended.
    wait_for(lambda: holder(api, garden.namespace) == "second", what="the second to hold the Lease")
    lease = api.get(LEASES, garden.namespace, LEASE)
    assert lease is not None
    assert acquired(lease) - told < timedelta(seconds=5)


def test_a_leader_that_slept_through_its_lease_ends_without_writing(
    api: Api, garden: Garden, replicas: tuple[OperatorProcess, OperatorProcess]
) -> None:
    leader, standby = replicas
    assert prepares(garden, "before")
    writes = leader.writes()
    leader.pause()
    wait_for(standby.leads, timeout=30, what="the standby to lead")
    garden.create_finetunejob("after")
    wait_for(lambda: phase(garden.finetunejob("after")) == "Preparing")
    assert len(api.list(JOBS, garden.namespace)) == 2
    leader.resume()
    assert leader.wait(timeout=15) == 1
    assert "Ending:" in leader.tail()
    assert writes["Job/apply"] == 1
    assert standby.writes() == {"Job/apply": 1, "FineTuneJob/apply_status": 1, "Event/create": 1}


def test_a_lease_that_is_taken_by_another_ends_the_leader(
    api: Api, garden: Garden, start_operator: StartOperator
) -> None:
    leader = start_operator(lease_identity="first")
    lease = api.get(LEASES, garden.namespace, LEASE)
    assert lease is not None
    api.merge(LEASES, lease, {"spec": {"holderIdentity": "intruder"}})
    assert leader.wait(timeout=15) == 1
    assert holder(api, garden.namespace) == "intruder"


def test_a_lone_operator_keeps_its_lease(api: Api, garden: Garden, start_operator: StartOperator) -> None:
    leader = start_operator(lease_identity="first")
    first = api.get(LEASES, garden.namespace, LEASE)
    assert first is not None
    stays(lambda: holder(api, garden.namespace) == "first" and leader.running, 5)
    later = api.get(LEASES, garden.namespace, LEASE)
    assert later is not None
    assert later["spec"]["renewTime"] > first["spec"]["renewTime"]
    assert later["spec"]["acquireTime"] == first["spec"]["acquireTime"]


@pytest.fixture
async def leader(
    garden: Garden,
    cluster: ControlPlane,
    requests: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Leader]:
    """A claim on the Lease of this test's namespace, held by this process."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    settings = Settings(
        train_image="train:1", serve_image="serve:1", lease_namespace=garden.namespace, lease_identity="first"
    )
    async with elected(settings, lambda _, verb, status: requests.append((verb, status))) as found:
        assert found is not None
        await found.acquire()
        yield found


@pytest.fixture
def requests() -> list[tuple[str, int]]:
    """What is asked of the API server: verb and HTTP status."""
    return []


@asynccontextmanager
async def kept(leader: Leader) -> AsyncIterator[None]:
    """Have the Lease renewed, whatever this thread does meanwhile: `wait_for` gives its loop no chance to run."""
    keeping = asyncio.create_task(leader.keep())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})


async def test_the_lease_is_renewed_while_the_operator_s_own_loop_is_busy(
    api: Api, garden: Garden, leader: Leader
) -> None:
    async with kept(leader):
        renewed = lease_of(api, garden)["renewTime"]
        wait_for(lambda: lease_of(api, garden)["renewTime"] > renewed, what="a renewal")

    assert leader.held()


async def test_one_request_renews_a_lease(leader: Leader, requests: list[tuple[str, int]]) -> None:
    requests.clear()

    async with kept(leader):
        wait_for(lambda: len(requests) >= 2, what="two renewals")

    assert set(requests) == {("replace", 200)}


async def test_a_lease_that_somebody_touched_is_read_anew_and_kept(
    api: Api, garden: Garden, leader: Leader, requests: list[tuple[str, int]]
) -> None:
    lease = api.get(LEASES, garden.namespace, LEASE)
    assert lease is not None
    api.merge(LEASES, lease, {"metadata": {"annotations": {"touched": "yes"}}})
    requests.clear()

    async with kept(leader):
        wait_for(lambda: len(requests) >= 4, what="two renewals")

    assert requests[:4] == [("replace", 409), ("get", 200), ("replace", 200), ("replace", 200)]
    assert leader.held()


async def test_a_lease_that_is_deleted_is_made_anew(
    api: Api, garden: Garden, leader: Leader, requests: list[tuple[str, int]]
) -> None:
    api.delete(LEASES, garden.namespace, LEASE)
    requests.clear()

    async with kept(leader):
        wait_for(lambda: ("create", 201) in requests, what="a new Lease")

    assert lease_of(api, garden)["holderIdentity"] == "first"


def lease_of(api: Api, garden: Garden) -> Obj:
    """Return the spec of the Lease."""
    lease = api.get(LEASES, garden.namespace, LEASE)
    assert lease is not None
    spec: Obj = lease["spec"]
    return spec
