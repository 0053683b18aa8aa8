"""Two replicas: one works, the other takes over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from modelgarden.kube.resources import JOBS, LEASES
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
