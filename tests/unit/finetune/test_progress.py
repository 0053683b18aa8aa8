"""Reports are pulled at most once per interval, and only the right pod's are believed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from modelgarden.finetune.programs import TRAIN
from modelgarden.finetune.progress import ProgressReports
from modelgarden.workloads.pods import PodState, pod_state
from modelgarden.workloads.reports import PodReports
from tests.unit.builders import NOW, make_report, running_pod


class Reports(PodReports):
    """Pods that answer what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.answer: dict[str, Any] | None = make_report(step=1).to_dict()

    async def fetch(self, pod: Mapping[str, Any], path: str) -> dict[str, Any] | None:
        assert path == "/progress"
        self.asked += 1
        return self.answer


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def pods() -> Reports:
    return Reports()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(pods: Reports, clock: Clock) -> ProgressReports:
    return ProgressReports(pods, clock=clock)


@pytest.fixture
def pod() -> PodState:
    return pod_state(running_pod("train"), TRAIN)


async def step_of(progress: ProgressReports, pod: PodState) -> int | None:
    report = await progress.newest(pod, interval_seconds=10)
    return None if report is None else report.progress.step


async def test_a_pod_is_asked_once_per_interval(
    progress: ProgressReports, pods: Reports, clock: Clock, pod: PodState
) -> None:
    assert await step_of(progress, pod) == 1
    pods.answer = make_report(step=2).to_dict()
    clock.now += timedelta(seconds=9)
    assert await step_of(progress, pod) == 1
    clock.now += timedelta(seconds=1)
    assert await step_of(progress, pod) == 2
    assert pods.asked == 2


@pytest.mark.parametrize(
    "answer",
    [None, {}, {"attempt": 5}, make_report(attempt="somebody else").to_dict()],
    ids=["silence", "nothing", "garbage", "another pod at the same address"],
)
async def test_what_cannot_be_believed_leaves_the_last_report(
    progress: ProgressReports, pods: Reports, clock: Clock, pod: PodState, answer: dict[str, Any] | None
) -> None:
    assert await step_of(progress, pod) == 1
    pods.answer = answer
    clock.now += timedelta(seconds=10)

    assert await step_of(progress, pod) == 1


async def test_a_pod_that_ended_is_forgotten(progress: ProgressReports, pods: Reports, pod: PodState) -> None:
    await step_of(progress, pod)
    progress.forget(pod)
    pods.answer = None

    assert await step_of(progress, pod) is None


async def test_a_report_of_a_newer_version_is_not_believed_and_says_what_to_upgrade(
    progress: ProgressReports, pods: Reports, pod: PodState, caplog: pytest.LogCaptureFixture
) -> None:
    pods.answer = {**make_report(step=1).to_dict(), "schemaVersion": "2.0"}

    assert await progress.newest(pod, interval_seconds=10) is None
    assert "images.operator" in caplog.text


async def test_a_report_with_fields_of_a_later_version_is_believed(
    progress: ProgressReports, pods: Reports, pod: PodState
) -> None:
    known = make_report(step=1)
    pods.answer = {**known.to_dict(), "queue": {"depth": 3}}

    assert await progress.newest(pod, interval_seconds=10) == known
