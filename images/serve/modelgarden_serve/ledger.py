"""Energy and tokens of this pod, and which part of the energy went by without a token.

The sums are kept in the workspace, so a container that starts again in the same pod goes on counting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from modelgarden.api.documents import SERVE_IMAGE, DocumentError
from modelgarden.api.emissions import EmissionsRecord, Energy, merge_records
from modelgarden.api.pods import ServeReport
from modelgarden_serve.vllm_api import Tokens


class Meter(Protocol):
    """The part of EnergyMeter that is needed here."""

    def energy(self) -> Energy:
        """Measure now and return the energy since the start."""
        ...

    def record(self, reason: str = "Running") -> EmissionsRecord:
        """Measure now and return the record of this attempt so far."""
        ...


class Ledger:
    """Sums over the life of this pod. Thread-safe."""

    def __init__(
        self, meter: Meter, read_tokens: Callable[[], Tokens | None], *, attempt: str, file: Path
    ) -> None:
        self._meter = meter
        self._read_tokens = read_tokens
        self._attempt = attempt
        self._file = file
        self._before = _earlier(file, attempt)
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._tokens = Tokens()
        self._loaded = False
        self._closed_joules = 0
        self._idle_joules = 0

    @property
    def attempt(self) -> str:
        """Return which pod the sums are of."""
        return self._attempt

    def sample(self) -> None:
        """Close the interval since the last sample: idle unless tokens were generated in it.

        Before vLLM first tells its counters it only loads. Later, while it does not answer, the interval stays open,
        so that no work passes for idle time.
        """
        tokens = self._read_tokens()
        with self._lock:
            if tokens is not None:
                self._close(idle=tokens.generated <= self._tokens.generated)
                self._tokens, self._loaded = tokens, True
            elif not self._loaded:
                self._close(idle=True)

    def close(self) -> None:
        """Count what is open as idle: vLLM has ended and generates nothing any more."""
        with self._lock:
            self._close(idle=True)

    def report(self, reason: str = "Running") -> ServeReport:
        """Return the sums: energy up to now, tokens up to the last sample."""
        with self._lock:
            return self._report(reason)

    def save(self, reason: str = "Running") -> None:
        """Keep the sums for the next container of this pod.

        Raises:
            OSError: the file cannot be written.
        """
        with self._writing:
            report = self.report(reason)
            partial = self._file.with_suffix(".partial")
            partial.write_text(report.model_dump_json(by_alias=True, exclude_none=True))
            partial.replace(self._file)

    def _close(self, *, idle: bool) -> None:
        joules = self._meter.energy().total
        if idle:
            self._idle_joules += joules - self._closed_joules
        self._closed_joules = joules

    def _report(self, reason: str) -> ServeReport:
        own = self._meter.record(reason)
        before = self._before
        return ServeReport(
            attempt=self._attempt,
            emissions=own if before is None else _joined(before.emissions, own),
            idle_joules=self._idle_joules + (before.idle_joules if before else 0),
            generated_tokens=self._tokens.generated + (before.generated_tokens if before else 0),
            prompt_tokens=self._tokens.prompt + (before.prompt_tokens if before else 0),
        )


def _joined(before: EmissionsRecord, own: EmissionsRecord) -> EmissionsRecord:
    """Return one record with one attempt: the pod's, whatever containers it had."""
    record = merge_records([before, own])
    (first, *_), (*_, last) = before.attempts, own.attempts
    attempt = last.model_copy(update={"start_time": first.start_time, "energy_joules": record.energy_joules})
    return record.model_copy(update={"attempts": (attempt,)})


def _earlier(file: Path, attempt: str) -> ServeReport | None:
    try:
        report = ServeReport.read(file.read_text(), reader=SERVE_IMAGE)
    except (OSError, DocumentError):
        return None
    return report if report.attempt == attempt and report.emissions.attempts else None


class LedgerMetrics(Collector):
    """The sums in Prometheus' terms, read when they are scraped."""

    def __init__(self, report: Callable[[], ServeReport | None]) -> None:
        self._report = report

    def collect(self) -> list[Metric]:
        """Return the metrics; none while metering has not begun."""
        report = self._report()
        if report is None:
            return []
        energy = CounterMetricFamily(
            "modelgarden_serve_energy_joules", "Energy of this pod before PUE.", labels=["component"]
        )
        for component in ("gpu", "cpu", "ram"):
            energy.add_metric([component], getattr(report.emissions.energy_joules, component))
        metrics: list[Metric] = [
            energy,
            CounterMetricFamily(
                "modelgarden_serve_idle_energy_joules",
                "Part of the energy while no tokens were generated.",
                value=report.idle_joules,
            ),
            CounterMetricFamily(
                "modelgarden_serve_generated_tokens", "Tokens generated.", value=report.generated_tokens
            ),
            CounterMetricFamily(
                "modelgarden_serve_prompt_tokens", "Prompt tokens processed.", value=report.prompt_tokens
            ),
        ]
        if report.emissions.emissions_milligrams is not None:
            metrics.append(
                CounterMetricFamily(
                    "modelgarden_serve_emissions_milligrams",
                    "Milligrams of CO2 equivalent after PUE.",
                    value=report.emissions.emissions_milligrams,
                )
            )
        return metrics


def metrics_registry(report: Callable[[], ServeReport | None]) -> CollectorRegistry:
    """Return a registry with the ledger's metrics alone."""
    registry = CollectorRegistry()
    registry.register(LedgerMetrics(report))
    return registry
