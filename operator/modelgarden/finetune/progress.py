"""The running pods' reports, each pod asked at most once per interval."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from typing import Final

from modelgarden.api.pods import TrainReport
from modelgarden.controller.times import Clock
from modelgarden.workloads.pods import PodState
from modelgarden.workloads.reports import PodReports

MOST_REPORTS: Final = 20_000
"""Pods that are deleted with their FineTuneJob are never seen to end; their reports make room."""


class ProgressReports:
    """Pulls the reports."""

    def __init__(self, reports: PodReports, *, clock: Clock) -> None:
        self._reports = reports
        self._clock = clock
        self._newest: OrderedDict[str, tuple[datetime, TrainReport | None]] = OrderedDict()

    async def newest(self, pod: PodState, *, interval_seconds: float) -> TrainReport | None:
        """Return the pod's report, not older than the interval, or the last one while the pod does not answer."""
        asked, known = self._newest.get(pod.uid, (None, None))
        if asked is not None and (self._clock() - asked).total_seconds() < interval_seconds:
            return known
        known = await self._reports.of(pod.body, "/progress", TrainReport) or known
        self._newest[pod.uid] = (self._clock(), known)
        self._newest.move_to_end(pod.uid)
        if len(self._newest) > MOST_REPORTS:
            self._newest.popitem(last=False)
        return known

    def forget(self, pod: PodState) -> None:
        """Drop what is known of a pod that has ended."""
        self._newest.pop(pod.uid, None)
