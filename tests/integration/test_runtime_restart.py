"""Writes and restarts: a change costs one write, a settled garden none, and a killed process leaves nothing undone."""

from __future__ import annotations

import pytest

from modelgarden.kube.resources import FINETUNEJOBS, JOBS, MODELDEPLOYMENTS
from tests.integration.conftest import StartOperator
from tests.integration.harness.api import Api, phase
from tests.integration.harness.garden import Garden
from tests.integration.harness.node import FakeNode
from tests.integration.harness.waiting import stays, wait_for


def versions(api: Api, namespace: str) -> dict[str, str]:
    """Return the resource version of every object of the garden."""
    objects = [
        one for resource in (FINETUNEJOBS, MODELDEPLOYMENTS, JOBS) for one in api.list(resource, namespace)
    ]
    return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in objects}


def phases(api: Api, namespace: str) -> dict[str, str]:
    """Return the phase of every resource."""
    owners = [one for resource in (FINETUNEJOBS, MODELDEPLOYMENTS) for one in api.list(resource, namespace)]
    return {owner["metadata"]["name"]: phase(owner) for owner in owners}


@pytest.fixture
def settled(garden: Garden, node: FakeNode) -> dict[str, str]:
    """Create resources for each way to come to rest; return the phases that they rest in."""
    for number in range(3):
        garden.create_finetunejob(f"preparing-{number}")
    garden.create_finetunejob("suspended", suspend=True)
    garden.create_finetunejob("blocked", dataset={"source": f"s3://{garden.bucket}/missing.jsonl"})
    garden.create_modeldeployment("waiting", model={"fineTuneJobRef": {"name": "preparing-0"}})
    return {
        **{f"preparing-{number}": "Preparing" for number in range(3)},
        "suspended": "Suspended",
        "blocked": "Blocked",
        "waiting": "Pending",
    }


def test_an_unchanged_job_costs_three_writes_until_its_pod_runs(
    garden: Garden, node: FakeNode, start_operator: StartOperator
) -> None:
    operator = start_operator()
    garden.create_finetunejob("bot")
    node.run("bot-prepare")
    wait_for(lambda: phase(garden.finetunejob("bot")) == "Preparing", what="Preparing")
    version = garden.finetunejob("bot")["metadata"]["resourceVersion"]

    stays(lambda: garden.finetunejob("bot")["metadata"]["resourceVersion"] == version, 3)

    assert operator.writes() == {"Job/apply": 1, "FineTuneJob/apply_status": 1, "Event/create": 1}


def test_a_restart_with_settled_resources_writes_nothing(
    api: Api, garden: Garden, settled: dict[str, str], start_operator: StartOperator
) -> None:
    first = start_operator()
    wait_for(lambda: phases(api, garden.namespace) == settled, what="settled phases")
    first.wait_until_idle(reconciles=len(settled))
    assert sum(first.writes().values()) > 0
    assert first.stop() == 0
    before = versions(api, garden.namespace)

    second = start_operator()
    second.wait_until_idle(reconciles=len(settled))

    assert second.writes() == {}
    assert versions(api, garden.namespace) == before


def test_an_operator_that_is_killed_at_work_finishes_it_after_its_restart(
    api: Api, garden: Garden, start_operator: StartOperator
) -> None:
    count = 20
    first = start_operator()
    for number in range(count):
        garden.create_finetunejob(f"job-{number}")
    wait_for(lambda: api.list(JOBS, garden.namespace), what="the first Job")
    first.kill()
    start_operator()
    wait_for(
        lambda: [*phases(api, garden.namespace).values()] == ["Preparing"] * count,
        timeout=60,
        what="every job preparing",
    )
    jobs = [job["metadata"]["name"] for job in api.list(JOBS, garden.namespace)]
    assert sorted(jobs) == sorted(f"job-{number}-prepare" for number in range(count))


def test_what_changed_while_no_operator_ran_is_acted_on_after_its_start(
    api: Api, garden: Garden, node: FakeNode, start_operator: StartOperator
) -> None:
    first = start_operator()
    garden.create_finetunejob("kept")
    gone = garden.create_finetunejob("gone")
    wait_for(lambda: phases(api, garden.namespace) == {"kept": "Preparing", "gone": "Preparing"})
    assert first.stop() == 0

    api.delete(FINETUNEJOBS, garden.namespace, "gone")
    kept = garden.finetunejob("kept")
    api.merge(FINETUNEJOBS, kept, {"spec": {"suspend": True}})
    garden.create_finetunejob("new")

    start_operator()
    wait_for(lambda: phases(api, garden.namespace) == {"kept": "Suspended", "new": "Preparing"})
    wait_for(
        lambda: (
            not [
                job
                for job in api.list(JOBS, garden.namespace)
                if job["metadata"]["ownerReferences"][0]["uid"] == gone["metadata"]["uid"]
            ]
        ),
        90,  # the garbage collector learns of a kind that was installed after its start only every 30 s
        what="the children of the deleted job to go",
    )
