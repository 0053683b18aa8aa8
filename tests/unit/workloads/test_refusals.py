"""Why a Job has no pod: which of the controller's events count, and when they are asked for at all."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden.workloads.refusals import waits_since, words_of
from tests.unit.builders import NOW, JobBuilder, ended_pod, make_subject, running_pod, stamp

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
