"""What the engines of pods say that run and are not ready: nothing yet, or the name of another model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from modelgarden.api.conditions import Problem
from modelgarden.api.pods import EngineReport
from modelgarden.kube.resources import Key
from modelgarden.workloads.reports import PodReports

ENGINE_SECONDS: Final = 10.0
"""How often the pods are asked."""
_SLACK_SECONDS: Final = 1.0
"""A look that is this much early asks all the same; the next one may be an interval away."""


@dataclass(frozen=True)
class _Told:
    at: float
    reports: Mapping[str, EngineReport]


class Engines:
    """Asks the pods of each ModelDeployment at most once per interval, and knows what they said until then."""

    def __init__(self, reports: PodReports, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._reports = reports
        self._clock = clock
        self._told: dict[Key, _Told] = {}

    async def told(self, key: Key, pods: Iterable[Mapping[str, Any]]) -> Mapping[str, EngineReport]:
        """Return what the engines of the pods that are not ready said last, by the pods' UIDs."""
        waiting, now = unready(pods), self._clock()
        if not waiting:
            self.forget(key)
            return {}
        known = self._told.get(key)
        if known is None or now - known.at >= ENGINE_SECONDS - _SLACK_SECONDS:
            known = self._told[key] = _Told(now, await self._ask(waiting))
        present = {pod["metadata"]["uid"] for pod in waiting}
        return {uid: report for uid, report in known.reports.items() if uid in present}

    def forget(self, key: Key) -> None:
        """Drop what the pods of a ModelDeployment said."""
        self._told.pop(key, None)

    async def _ask(self, pods: Sequence[Mapping[str, Any]]) -> Mapping[str, EngineReport]:
        answers = await asyncio.gather(*(self._reports.of(pod, "/engine", EngineReport) for pod in pods))
        return {answer.attempt: answer for answer in answers if answer is not None}


def unready(pods: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return the pods that run, are to stay, and are not ready."""
    return tuple(
        pod
        for pod in pods
        if pod.get("status", {}).get("phase") == "Running"
        and "deletionTimestamp" not in pod["metadata"]
        and not any(
            (one["type"], one["status"]) == ("Ready", "True") for one in pod["status"].get("conditions", [])
        )
    )


def awaited_of(pod: str, report: EngineReport) -> str | None:
    """Return what a pod awaits whose engine does not answer; None where it does."""
    if report.named is not None:
        return None
    return f"Pod {pod} awaits model {report.awaited!r}; its engine does not answer yet."


def mistake_of(pod: str, report: EngineReport) -> Problem | None:
    """Return what is wrong with a pod whose engine serves other models than the awaited one."""
    if report.named is None or report.awaited in report.named:
        return None
    names = ", ".join(map(repr, report.named)) or "no model"
    return Problem(
        "PodsFailing",
        f"Pod {pod} awaits model {report.awaited!r}, and /v1/models names {names} instead. Correct engine.extraArgs, "
        "or the image.",
    )
