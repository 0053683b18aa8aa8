"""From events to keys."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden.api.names import FINETUNEJOB_LABEL, GROUP, VERSION
from modelgarden.kube.cache import Cache
from modelgarden.kube.resources import FINETUNEJOBS, JOBS, MODELDEPLOYMENTS, PODS, Key, Resource
from modelgarden.runtime.queue import BURST_SECONDS
from modelgarden.runtime.sink import Sink
from tests.unit.runtime.hand_clock import Time

JOB = Key(FINETUNEJOBS, "team", "job")
DEPLOYMENT = Key(MODELDEPLOYMENTS, "team", "served")


def serving(job: str, version: int) -> dict[str, Any]:
    return make(MODELDEPLOYMENTS, "served", version, spec={"model": {"fineTuneJobRef": {"name": job}}})


def make(resource: Resource, name: str, version: int, **fields: Any) -> dict[str, Any]:
    metadata = {"namespace": "team", "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}
    metadata |= fields.pop("metadata", {})
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **fields}


def owned_by_job(resource: Resource, name: str, version: int) -> dict[str, Any]:
    reference = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "FineTuneJob",
        "name": "job",
        "uid": "uid-job",
        "controller": True,
    }
    return make(resource, name, version, metadata={"ownerReferences": [reference]})


class Setup:
    def __init__(self) -> None:
        self.cache = Cache()
        self.time = Time()
        self.queue = self.time.queue()
        self.sink = Sink(self.cache, self.queue)

    async def queued(self) -> list[Key]:
        """Return the keys that wait or will in a moment, and empty the queue."""
        self.time.pass_by(BURST_SECONDS)
        keys = [await self.queue.get() for _ in range(self.queue.depth)]
        for key in keys:
            self.queue.done(key, None)
        return keys


@pytest.fixture
def setup() -> Setup:
    return Setup()


async def test_an_event_of_an_owner_queues_it(setup: Setup) -> None:
    setup.sink.take(FINETUNEJOBS, "ADDED", make(FINETUNEJOBS, "job", 1))
    assert await setup.queued() == [JOB]
    assert setup.cache.get(FINETUNEJOBS, "team", "job") is not None


async def test_an_event_of_a_child_queues_its_controller(setup: Setup) -> None:
    setup.sink.take(JOBS, "MODIFIED", owned_by_job(JOBS, "job-train", 2))
    assert await setup.queued() == [JOB]


async def test_an_event_of_a_pod_queues_the_owner_that_its_label_names(setup: Setup) -> None:
    pod = make(PODS, "job-train-abc", 3, metadata={"labels": {FINETUNEJOB_LABEL: "job"}})
    setup.sink.take(PODS, "MODIFIED", pod)
    assert await setup.queued() == [JOB]


async def test_a_child_of_somebody_else_queues_nothing(setup: Setup) -> None:
    setup.sink.take(PODS, "ADDED", make(PODS, "stray", 3))
    assert await setup.queued() == []


async def test_the_echo_of_an_own_write_queues_nothing(setup: Setup) -> None:
    written = make(FINETUNEJOBS, "job", 5)
    setup.cache.put(FINETUNEJOBS, written)
    setup.sink.take(FINETUNEJOBS, "MODIFIED", written)
    assert await setup.queued() == []


async def test_a_change_by_others_just_before_an_own_write_still_queues(setup: Setup) -> None:
    setup.cache.put(FINETUNEJOBS, make(FINETUNEJOBS, "job", 5, spec={"suspend": True}))
    setup.sink.take(FINETUNEJOBS, "MODIFIED", make(FINETUNEJOBS, "job", 4, spec={"suspend": True}))
    assert await setup.queued() == [JOB]
    known = setup.cache.get(FINETUNEJOBS, "team", "job")
    assert known is not None
    assert known["metadata"]["resourceVersion"] == "5"


async def test_a_listing_queues_even_what_is_known(setup: Setup) -> None:
    setup.cache.put(FINETUNEJOBS, make(FINETUNEJOBS, "job", 5))
    setup.sink.take(FINETUNEJOBS, None, make(FINETUNEJOBS, "job", 5))
    assert await setup.queued() == [JOB]


async def test_a_deletion_is_forgotten_and_queues(setup: Setup) -> None:
    setup.sink.take(JOBS, "ADDED", owned_by_job(JOBS, "job-train", 2))
    await setup.queued()
    setup.sink.take(JOBS, "DELETED", owned_by_job(JOBS, "job-train", 3))
    assert await setup.queued() == [JOB]
    assert setup.cache.get(JOBS, "team", "job-train") is None


async def test_a_model_deployment_is_queued_when_a_job_that_it_names_changes(setup: Setup) -> None:
    setup.sink.take(MODELDEPLOYMENTS, "ADDED", serving("job", 1))
    await setup.queued()
    setup.sink.take(FINETUNEJOBS, "ADDED", make(FINETUNEJOBS, "job", 2))
    assert await setup.queued() == [JOB, DEPLOYMENT]


async def test_a_model_deployment_is_queued_by_the_echo_of_the_operator_s_write_to_the_job(
    setup: Setup,
) -> None:
    setup.sink.take(MODELDEPLOYMENTS, "ADDED", serving("job", 1))
    await setup.queued()
    written = make(FINETUNEJOBS, "job", 2)
    setup.cache.put(FINETUNEJOBS, written)
    setup.sink.take(FINETUNEJOBS, "MODIFIED", written)
    assert await setup.queued() == [DEPLOYMENT]


async def test_a_model_deployment_that_names_another_job_no_longer_listens_to_the_first(setup: Setup) -> None:
    setup.sink.take(MODELDEPLOYMENTS, "ADDED", serving("job", 1))
    setup.sink.take(MODELDEPLOYMENTS, "MODIFIED", serving("new", 2))
    await setup.queued()
    setup.sink.take(FINETUNEJOBS, "ADDED", make(FINETUNEJOBS, "job", 3))
    assert await setup.queued() == [JOB]
    setup.sink.take(FINETUNEJOBS, "ADDED", make(FINETUNEJOBS, "new", 4))
    assert DEPLOYMENT in await setup.queued()


async def test_a_deleted_model_deployment_listens_to_nothing(setup: Setup) -> None:
    setup.sink.take(MODELDEPLOYMENTS, "ADDED", serving("job", 1))
    setup.sink.take(MODELDEPLOYMENTS, "DELETED", serving("job", 2))
    await setup.queued()
    setup.sink.take(FINETUNEJOBS, "ADDED", make(FINETUNEJOBS, "job", 3))
    assert await setup.queued() == [JOB]
