"""Why a Job has no pod, or its pod does not start: which events count, and when they are asked for at all."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden.kube.client import Kube
from modelgarden.kube.errors import Invalid
from modelgarden.kube.resources import Resource
from modelgarden.workloads.refusals import Refusals, does_not_start, waits_since, words_of
from tests.unit.builders import (
    NOW,
    JobBuilder,
    ended_pod,
    make_pod,
    make_subject,
    running_pod,
    stamp,
    unschedulable_pod,
)

JOB_UID = "train-job-uid"


def event(note: str, *, uid: str = JOB_UID, seconds_ago: float = 0) -> dict[str, Any]:
    return {"regarding": {"uid": uid}, "note": note, "deprecatedLastTimestamp": stamp(seconds_ago)}


def job() -> JobBuilder:
    return JobBuilder(make_subject(), "train")


@pytest.mark.parametrize(
    ("builder", "want"),
    [
        pytest.param(job(), stamp(), id="no pod yet"),
        pytest.param(job().with_pod(ended_pod("train", 1)), stamp(5), id="the last pod has ended"),
        pytest.param(job().with_pod(running_pod("train")), None, id="a pod runs"),
        pytest.param(job().suspended(), None, id="a queue holds it"),
        pytest.param(job().complete(), None, id="it needs none any more"),
    ],
)
def test_since_when_a_job_waits_for_a_pod(builder: JobBuilder, want: str | None) -> None:
    since = waits_since(builder.state())

    assert (since and since.strftime("%Y-%m-%dT%H:%M:%SZ")) == want


@pytest.mark.parametrize(
    ("events", "want"),
    [
        pytest.param([], None, id="the controller said nothing"),
        pytest.param([event("exceeded quota", uid="another")], None, id="it spoke of another Job"),
        pytest.param([event("exceeded quota", seconds_ago=60)], None, id="that was about an earlier pod"),
        pytest.param([event("exceeded quota")], "exceeded quota", id="it said why"),
        pytest.param(
            [event("violates PodSecurity"), event("exceeded quota", seconds_ago=9)], "violates PodSecurity",
            id="the newest counts",
        ),
        pytest.param(
            [{**event("exceeded quota", seconds_ago=60), "series": {"lastObservedTime": stamp()}}],
            "exceeded quota",
            id="it says so again and again",
        ),
    ],
)  # fmt: skip
def test_the_newest_words_about_the_job_count(events: list[dict[str, Any]], want: str | None) -> None:
    assert words_of(events, uid=JOB_UID, since=NOW) == want


def placed(*, seconds_ago: float = 60, **status: Any) -> dict[str, Any]:
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(seconds_ago)}
    return make_pod("train", conditions=(scheduled,), **status)


CREATING: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}


@pytest.mark.parametrize(
    ("pod", "want"),
    [
        pytest.param(placed(), True, id="it has a node, and nothing happens"),
        pytest.param(placed(state=CREATING), True, id="its container is being made for a minute"),
        pytest.param(placed(seconds_ago=3), False, id="it has its node for 3 s"),
        pytest.param(unschedulable_pod("train"), False, id="it has no node"),
        pytest.param(make_pod("train"), False, id="the scheduler has not seen it"),
        pytest.param(running_pod("train"), False, id="it runs"),
        pytest.param(
            placed(state={"waiting": {"reason": "ErrImagePull", "message": "not found"}}), False,
            id="its status says why",
        ),
    ],
)  # fmt: skip
def test_a_pod_that_does_not_start_is_asked_about(pod: dict[str, Any], want: bool) -> None:
    assert does_not_start(pod, NOW) is want


class Listing(Kube):
    """An API server that knows some events, or may not tell them."""

    def __init__(self, *events: dict[str, Any], refused: bool = False) -> None:
        self._known = list(events)
        self._refused = refused

    async def list(self, resource: Resource, **_: Any) -> list[dict[str, Any]]:
        if self._refused:
            raise Invalid("ApplyRejected", "events is forbidden")
        return self._known


def sandbox(uid: str) -> dict[str, Any]:
    return {
        **event("failed to create a sandbox: memory too low", uid=uid),
        "reason": "FailedCreatePodSandBox",
    }


async def test_what_the_kubelet_says_of_a_pod_that_does_not_start_reaches_the_job() -> None:
    state = job().with_pod(placed(state=CREATING)).state()

    noted = await Refusals(Listing(sandbox("uid-of-bot-pod-1"), sandbox("another"))).noted(state, "team", NOW)

    assert noted.stuck is not None
    assert noted.stuck.reason == "StartFailed"
    assert "bot-pod-1" in noted.stuck.message
    assert "FailedCreatePodSandBox: failed to create a sandbox: memory too low" in noted.stuck.message


async def test_a_pod_of_which_nothing_is_said_is_no_trouble() -> None:
    state = job().with_pod(placed(state=CREATING)).state()

    assert (await Refusals(Listing(sandbox("another"))).noted(state, "team", NOW)).stuck is None


async def test_a_role_that_may_not_list_events_leaves_the_job_as_it_is() -> None:
    state = job().with_pod(placed(state=CREATING)).state()

    assert await Refusals(Listing(refused=True)).noted(state, "team", NOW) == state
