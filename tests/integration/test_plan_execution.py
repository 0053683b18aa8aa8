"""Plans carried out against the real API server: what is written, what is left alone, what the status says of a refusal."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from hack.cluster import ControlPlane
from modelgarden.api.finetunejob import FineTuneJobStatus
from modelgarden.api.kinds import FINETUNEJOB
from modelgarden.api.names import API_VERSION
from modelgarden.controller.execute import execute
from modelgarden.controller.plan import Event, Plan
from modelgarden.kube.cache import Cache
from modelgarden.kube.client import Kube
from modelgarden.kube.errors import Retryable
from modelgarden.kube.resources import EVENTS, FINETUNEJOBS, JOBS, Resource
from tests.integration.harness.api import Api, Obj, condition, phase
from tests.integration.harness.faults import Faults, faulty_api
from tests.integration.harness.waiting import wait_for
from tests.rule_cases import SPECS

READS = {"get", "list"}
STARTED = Event("Normal", "Preparing", "The dataset is being checked.")


class Ledger:
    """What the API server answered to writes."""

    def __init__(self) -> None:
        self._answers: list[tuple[str, str, int]] = []

    def __call__(self, resource: Resource, verb: str, status: int) -> None:
        if verb not in READS:
            self._answers.append((resource.kind, verb, status))

    @contextmanager
    def page(self) -> Iterator[list[str]]:
        """Yield the writes of the block that went through, once it has ended."""
        begin, writes = len(self._answers), list[str]()
        yield writes
        writes += [f"{kind}/{verb}" for kind, verb, status in self._answers[begin:] if status < 400]


@dataclass
class Bench:
    """A FineTuneJob `bot` that nobody reconciles, and what an operator has to carry plans out for it."""

    api: Api
    kube: Kube
    cache: Cache
    ledger: Ledger
    namespace: str

    def create_owner(self, name: str = "bot") -> Obj:
        """Create a FineTuneJob; return it."""
        metadata = {"name": name, "namespace": self.namespace}
        spec = SPECS[FINETUNEJOB.name]
        owner = {"apiVersion": API_VERSION, "kind": FINETUNEJOB.name, "metadata": metadata, "spec": spec}
        return self.api.create(FINETUNEJOBS, owner)

    def owner(self) -> Obj:
        """Return the owner as it is now."""
        return self.api.finetunejob(self.namespace, "bot")

    async def execute(self, plan: Plan, owner: Obj | None = None) -> list[str]:
        """Carry a plan out; return the writes that went through."""
        with self.ledger.page() as writes:
            await execute(self.kube, self.cache, owner or self.owner(), plan)
        return writes

    async def refused(self, plan: Plan, owner: Obj | None = None) -> tuple[list[str], Retryable]:
        """Carry a plan out that does not go through; return the writes that did, and the error."""
        with self.ledger.page() as writes, pytest.raises(Retryable) as told:
            await execute(self.kube, self.cache, owner or self.owner(), plan)
        return writes, told.value

    def job(self, name: str = "bot-prepare") -> Obj | None:
        """Return a Job."""
        return self.api.get(JOBS, self.namespace, name)

    def uid(self, name: str = "bot-prepare") -> str:
        """Return the UID of a Job that must be there."""
        found = self.job(name)
        assert found is not None, f"Job {name} is not there"
        return str(found["metadata"]["uid"])

    def events(self) -> list[str]:
        """Return the reasons of all events about FineTuneJobs."""
        found = self.api.list(EVENTS, self.namespace)
        return [one["reason"] for one in found if one["regarding"]["kind"] == FINETUNEJOB.name]

    def delete(self, resource: Resource, name: str) -> None:
        """Delete an object and wait until it is gone."""
        self.api.delete(resource, self.namespace, name)
        wait_for(lambda: self.api.get(resource, self.namespace, name) is None, what=f"the end of {name}")


@pytest.fixture
async def bench(cluster: ControlPlane, api: Api, namespace: str) -> AsyncIterator[Bench]:
    """A FineTuneJob `bot` in a namespace of its own."""
    ledger = Ledger()
    kube = await Kube.connect(kubeconfig=str(cluster.kubeconfig), observer=ledger)
    made = Bench(api, kube, Cache(), ledger, namespace)
    made.create_owner()
    yield made
    await kube.close()


def child(name: str = "bot-prepare", *, image: str = "train:1", retries: int = 3, **pod: Any) -> Obj:
    """Return a Job as a plan wants it: suspended, so that no controller makes pods of it."""
    containers = [{"name": "main", "image": image}]
    template = {"spec": {"restartPolicy": "Never", "containers": containers, **pod}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"suspend": True, "backoffLimit": retries, "template": template},
    }


def stranger(namespace: str, **metadata: Any) -> Obj:
    """Return a Job of the child's name that somebody else makes."""
    job = child(image="strangers:1")
    return {**job, "metadata": {**job["metadata"], "namespace": namespace, **metadata}}


def status(
    phase: str = "Preparing", message: str = "All is there.", reason: str = "Preparing"
) -> dict[str, Any]:
    """Return an owner's status; the reason is that of its second condition."""
    common = {
        "message": message,
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    accepted = {"type": "Accepted", "status": "True", "reason": "Accepted", **common}
    ready = {"type": "DatasetReady", "status": "False", "reason": reason, **common}
    fields = {"phase": phase, "conditions": [accepted, ready], "observedGeneration": 1}
    return FineTuneJobStatus.from_dict(fields).to_dict()


def controlled_by(owner: Obj) -> list[Obj]:
    """Return the ownerReferences of an owner's child."""
    keys = {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
    return [{"apiVersion": owner["apiVersion"], "kind": owner["kind"], **keys, "controller": True}]


async def test_what_is_unchanged_costs_no_write(bench: Bench) -> None:
    plan = Plan(objects=(child(),), status=status(), event=STARTED)

    assert await bench.execute(plan) == ["Job/apply", "FineTuneJob/apply_status", "Event/create"]
    assert await bench.execute(plan) == []

    bench.cache = Cache()  # as after a restart
    assert await bench.execute(plan) == []
    assert bench.events() == ["Preparing"]


async def test_what_is_changed_costs_one_write_each(bench: Bench) -> None:
    await bench.execute(Plan(objects=(child(), child("bot-train")), status=status(), event=STARTED))

    changed = Plan(
        objects=(child(), child("bot-train", retries=5)), status=status(message="Still."), event=STARTED
    )
    assert await bench.execute(changed) == ["Job/apply", "FineTuneJob/apply_status"]

    found = bench.job("bot-train")
    assert found is not None
    assert found["spec"]["backoffLimit"] == 5
    assert condition(bench.owner(), "Accepted")["message"] == "Still."
    assert bench.events() == ["Preparing"], "neither phase nor reason has changed"


async def test_another_reason_within_a_phase_is_told_once(bench: Bench) -> None:
    await bench.execute(Plan(status=status(), event=STARTED))
    unschedulable = Plan(
        status=status(reason="Unschedulable"), event=Event("Warning", "Unschedulable", "No node has room.")
    )

    assert await bench.execute(unschedulable) == ["FineTuneJob/apply_status", "Event/create"]
    assert await bench.execute(unschedulable) == []

    assert sorted(bench.events()) == ["Preparing", "Unschedulable"]


async def test_the_log_tells_each_new_state_with_its_reason_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "modelgarden.controller.execute")
    blocked = Plan(
        status=status("Blocked", reason="SecretNotFound"),
        event=Event("Warning", "SecretNotFound", "Secret 's3' does not exist; create it."),
    )

    for plan in (Plan(status=status(), event=STARTED), blocked, blocked):
        await bench.execute(plan)

    assert [record.getMessage() for record in caplog.records] == [
        "Phase is Preparing, Preparing: The dataset is being checked.",
        "Phase is Blocked, SecretNotFound: Secret 's3' does not exist; create it.",
    ]


async def test_each_call_is_in_the_log_at_debug(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "modelgarden.kube.client")

    await bench.execute(Plan(status=status()))

    path = f"/apis/modelgarden.dev/v1alpha1/namespaces/{bench.namespace}/finetunejobs/"
    (line,) = [text for record in caplog.records if path in (text := record.getMessage())]
    assert re.fullmatch(rf"apply_status {path}\S+/status: HTTP 200 in \d+\.\d{{3}} s", line)


async def test_a_child_belongs_to_its_owner(bench: Bench) -> None:
    await bench.execute(Plan(objects=(child(),)))
    found = bench.job()
    assert found is not None
    (reference,) = found["metadata"]["ownerReferences"]
    assert (reference["uid"], reference["controller"]) == (bench.owner()["metadata"]["uid"], True)


async def test_a_deletion_goes_to_the_child_that_was_seen(bench: Bench) -> None:
    await bench.execute(Plan(objects=(child(),)))
    assert await bench.execute(Plan(deletes=((JOBS, "bot-prepare"),))) == ["Job/delete"]
    wait_for(lambda: bench.job() is None, what="the Job's end")

    assert await bench.execute(Plan(deletes=((JOBS, "bot-prepare"),))) == []


async def test_a_child_that_was_made_anew_survives_the_deletion_of_the_old_one(bench: Bench) -> None:
    await bench.execute(Plan(objects=(child(),)))
    bench.delete(JOBS, "bot-prepare")
    bench.api.create(JOBS, stranger(bench.namespace))
    anew = bench.uid()

    writes, told = await bench.refused(Plan(deletes=((JOBS, "bot-prepare"),), status=status("Training")))

    assert writes == []
    assert anew in told.message
    assert bench.uid() == anew


async def test_an_owner_that_was_made_anew_survives_the_deletion_of_the_old_one(bench: Bench) -> None:
    old = bench.owner()
    bench.delete(FINETUNEJOBS, "bot")
    anew = bench.create_owner()["metadata"]["uid"]

    writes, _ = await bench.refused(Plan(deletes=((FINETUNEJOBS, "bot"),)), owner=old)

    assert writes == []
    assert bench.owner()["metadata"]["uid"] == anew


async def test_an_owner_that_was_made_anew_does_not_get_the_status_of_the_old_one(bench: Bench) -> None:
    old = bench.owner()
    bench.delete(FINETUNEJOBS, "bot")
    assert await bench.execute(Plan(status=status()), owner=old) == [], "there is nothing to write to"
    bench.create_owner()

    writes, _ = await bench.refused(Plan(status=status(), event=STARTED), owner=old)

    assert writes == []
    assert "status" not in bench.owner()


async def test_a_status_that_was_decided_before_another_change_is_decided_anew(bench: Bench) -> None:
    old = bench.owner()
    bench.api.merge(FINETUNEJOBS, old, {"spec": {"suspend": True}})

    writes, _ = await bench.refused(Plan(status=status(), event=STARTED), owner=old)

    assert writes == []
    assert await bench.execute(Plan(status=status())) == ["FineTuneJob/apply_status"]


@pytest.mark.parametrize("controlled", [False, True], ids=["nobody's", "another FineTuneJob's"])
@pytest.mark.parametrize("known", [False, True], ids=["not in the cache", "in the cache"])
async def test_a_stranger_s_object_is_not_taken_over(bench: Bench, controlled: bool, known: bool) -> None:
    references = controlled_by(bench.create_owner("other")) if controlled else []
    before = bench.api.create(JOBS, stranger(bench.namespace, ownerReferences=references))
    before = {"apiVersion": "batch/v1", "kind": "Job", **before}
    if known:
        bench.cache.put(JOBS, before)
    plan = Plan(objects=(child(),), status=status(), event=STARTED)

    writes, told = await bench.refused(plan)

    assert writes == ["FineTuneJob/apply_status", "Event/create"]
    now = bench.job()
    assert now is not None
    assert now["spec"] == before["spec"]
    assert now["metadata"].get("ownerReferences", []) == references
    accepted = condition(bench.owner(), "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "ApplyRejected")
    assert accepted["message"] == told.message
    assert "Job bot-prepare exists and does not belong to this FineTuneJob; delete it" in accepted["message"]
    assert phase(bench.owner()) == "Blocked"
    assert (await bench.refused(plan))[0] == [], "the second try says nothing new"
    assert bench.events() == ["ApplyRejected"]

    bench.delete(JOBS, "bot-prepare")
    bench.cache.remove(JOBS, bench.namespace, "bot-prepare")
    assert await bench.execute(plan) == ["Job/apply", "FineTuneJob/apply_status", "Event/create"]
    assert condition(bench.owner(), "Accepted")["status"] == "True"


async def test_a_child_that_is_being_deleted_is_waited_for(bench: Bench) -> None:
    held = bench.api.create(JOBS, stranger(bench.namespace, finalizers=["example.com/hold"]))
    bench.api.delete(JOBS, bench.namespace, "bot-prepare")
    plan = Plan(objects=(child(),), status=status(), event=STARTED)

    writes, told = await bench.refused(plan)

    assert writes == []
    assert told.after is not None
    assert "being deleted" in told.message
    bench.api.merge(JOBS, held, {"metadata": {"finalizers": None}})
    wait_for(lambda: bench.job() is None, what="the Job's end")
    assert (await bench.execute(plan))[0] == "Job/apply"


async def test_a_child_that_was_planned_for_one_that_is_gone_is_not_made_anew(bench: Bench) -> None:
    await bench.execute(Plan(objects=(child(),)))
    known = child()
    known["metadata"]["uid"] = bench.uid()
    assert await bench.execute(Plan(objects=(known,))) == [], "the UID is no other content"
    bench.delete(JOBS, "bot-prepare")
    bench.cache.remove(JOBS, bench.namespace, "bot-prepare")

    writes, _ = await bench.refused(Plan(objects=(known,)))

    assert writes == []
    assert bench.job() is None


async def test_what_the_api_server_says_of_a_refused_child_is_in_the_status(bench: Bench) -> None:
    before = status()
    await bench.execute(Plan(status=before, event=STARTED))
    plan = Plan(
        objects=(child(restartPolicy="Always"), child("bot-train")), status=status("Training"), event=STARTED
    )

    writes, told = await bench.refused(plan)

    assert writes == ["FineTuneJob/apply_status", "Event/create"]
    accepted = condition(bench.owner(), "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "ApplyRejected")
    assert 'Job.batch "bot-prepare" is invalid' in accepted["message"]
    assert "spec.template.spec.restartPolicy" in accepted["message"]
    assert accepted["message"] == told.message
    assert accepted["lastTransitionTime"] > before["conditions"][0]["lastTransitionTime"]
    assert phase(bench.owner()) == "Blocked"
    assert bench.job("bot-train") is None, "what comes after the refused child waits for it"
    assert bench.events().count("ApplyRejected") == 1


async def test_a_child_that_stays_refused_is_told_once_and_recovers(bench: Bench) -> None:
    refused = Plan(objects=(child(restartPolicy="Always"),), status=status(), event=STARTED)
    await bench.refused(refused)
    since = condition(bench.owner(), "Accepted")["lastTransitionTime"]

    assert [(await bench.refused(refused))[0] for _ in range(2)] == [[], []]
    assert condition(bench.owner(), "Accepted")["lastTransitionTime"] == since
    assert bench.events() == ["ApplyRejected"]

    mended = Plan(objects=(child(),), status=status(), event=STARTED)
    assert await bench.execute(mended) == ["Job/apply", "FineTuneJob/apply_status", "Event/create"]
    assert condition(bench.owner(), "Accepted")["status"] == "True"
    assert phase(bench.owner()) == "Preparing"


@pytest.fixture
def faults(cluster: ControlPlane, tmp_path: Path) -> Iterator[Faults]:
    """The API server behind a proxy."""
    with faulty_api(cluster.kubeconfig, tmp_path) as found:
        yield found


@pytest.mark.parametrize("answer", [403, 404, 409, 422, 429, 500])
async def test_an_event_that_cannot_be_posted_fails_nothing(
    bench: Bench, faults: Faults, answer: int
) -> None:
    def refuse(request: web.Request) -> int | None:
        return answer if request.path.endswith("/events") else None

    faults.refuse = refuse
    direct = bench.kube
    bench.kube = await Kube.connect(kubeconfig=str(faults.kubeconfig), observer=bench.ledger)
    try:
        writes = await bench.execute(Plan(objects=(child(),), status=status(), event=STARTED))
    finally:
        await bench.kube.close()
        bench.kube = direct

    assert writes == ["Job/apply", "FineTuneJob/apply_status"]
    assert faults.refused == 1
    assert phase(bench.owner()) == "Preparing"
    assert bench.events() == []


@pytest.mark.parametrize("letter", ["a", "ä", "模"], ids=["of one byte", "of two", "of three"])
async def test_an_event_with_a_long_note_is_posted(bench: Bench, letter: str) -> None:
    """The API server counts a note's bytes."""
    await bench.execute(
        Plan(status=status(), event=Event("Warning", "PrepareFailed", f"Row 7: {letter * 2000}"))
    )
    (event,) = bench.api.list(EVENTS, bench.namespace)
    assert event["note"].startswith(f"Row 7: {letter * 300}")
