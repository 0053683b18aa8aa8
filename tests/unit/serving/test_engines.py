"""Pods that run and are not ready are asked for their engines, not too often, and what they said stays known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from modelgarden.api.pods import EngineReport
from modelgarden.kube.resources import MODELDEPLOYMENTS, Key
from modelgarden.serving.engines import Engines, unready
from modelgarden.workloads.reports import PodReports
from tests.unit.serving.builders import pod, wanted

KEY = Key(MODELDEPLOYMENTS, "default", "bot")
READY = {"type": "Ready", "status": "True"}


class Pods(PodReports):
    """Pods that answer for their engines, and count how often."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.silent: set[str] = set()

    async def fetch(self, pod: Mapping[str, Any], path: str) -> dict[str, Any] | None:
        name = pod["metadata"]["name"]
        self.asked.append(f"{name}{path}")
        if name in self.silent:
            return None
        return EngineReport(attempt=pod["metadata"]["uid"], awaited="bot", named=(name,)).to_dict()


class Bench:
    """Engines with a clock and pods at hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pods = Pods()
        self.engines = Engines(self.pods, clock=lambda: self.now)

    async def told(self, *pods: Mapping[str, Any], key: Key = KEY) -> dict[str, tuple[str, ...] | None]:
        return {uid: report.named for uid, report in (await self.engines.told(key, pods)).items()}


@pytest.fixture
def bench() -> Bench:
    return Bench()


def running(name: str, **status: Any) -> dict[str, Any]:
    return pod(wanted(), name, phase="Running", **status)


def test_only_pods_that_run_to_stay_and_are_not_ready_are_asked() -> None:
    ending = running("ending")
    ending["metadata"]["deletionTimestamp"] = "2026-11-21T11:59:00Z"
    not_ready = running("not-ready", conditions=[{**READY, "status": "False"}])
    pods = [
        running("loading"),
        not_ready,
        running("ready", conditions=[READY]),
        ending,
        pod(wanted(), "pending"),
        {"metadata": {"name": "made just now"}},
    ]

    assert [one["metadata"]["name"] for one in unready(pods)] == ["loading", "not-ready"]


async def test_what_was_said_is_known_until_it_is_time_to_ask_again(bench: Bench) -> None:
    assert await bench.told(running("p1"), running("p2")) == {"uid-p1": ("p1",), "uid-p2": ("p2",)}
    bench.now += 8.9
    assert await bench.told(running("p1"), running("p2")) == {"uid-p1": ("p1",), "uid-p2": ("p2",)}
    assert bench.pods.asked == ["p1/engine", "p2/engine"]

    bench.now += 0.1
    bench.pods.silent = {"p1"}
    assert await bench.told(running("p1"), running("p2")) == {"uid-p2": ("p2",)}
    assert bench.pods.asked[2:] == ["p1/engine", "p2/engine"]


async def test_what_a_pod_said_is_forgotten_once_it_is_ready_or_gone(bench: Bench) -> None:
    await bench.told(running("p1"), running("p2"), running("p3"))

    assert await bench.told(running("p1"), running("p2", conditions=[READY])) == {"uid-p1": ("p1",)}


async def test_pods_of_one_deployment_are_no_reason_not_to_ask_those_of_another(bench: Bench) -> None:
    await bench.told(running("p1"))

    assert await bench.told(running("p2"), key=Key(MODELDEPLOYMENTS, "default", "other")) == {
        "uid-p2": ("p2",)
    }


async def test_once_all_are_ready_or_the_deployment_is_forgotten_the_next_pod_is_asked_at_once(
    bench: Bench,
) -> None:
    await bench.told(running("p1"))
    assert await bench.told(running("p1", conditions=[READY])) == {}
    assert await bench.told(running("p1")) == {"uid-p1": ("p1",)}

    for _ in range(2):
        bench.engines.forget(KEY)
    assert await bench.told(running("p1")) == {"uid-p1": ("p1",)}

    assert len(bench.pods.asked) == 3
