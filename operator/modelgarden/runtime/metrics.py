"""Prometheus metrics of the operator, one registry per process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from modelgarden.kube.resources import Resource

_WRITES: Final = frozenset({"create", "replace", "apply", "apply_status", "patch", "delete"})
_SECONDS: Final = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)


class Metrics:
    """The figures that alerts and tests read."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._reconcile = Histogram(
            "modelgarden_reconcile_seconds", "Duration of reconciles.", ["kind"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._errors = Counter(
            "modelgarden_reconcile_errors", "Reconciles that failed, by reason.", ["kind", "reason"],
            registry=self.registry,
        )  # fmt: skip
        self._writes = Counter(
            "modelgarden_writes", "Writes that the API server accepted.", ["kind", "verb"],
            registry=self.registry,
        )  # fmt: skip
        self._refusals = Counter(
            "modelgarden_api_errors", "API requests that failed; 0: no answer.", ["kind", "verb", "code"],
            registry=self.registry,
        )  # fmt: skip
        self._repairs = Counter(
            "modelgarden_resync_repairs", "Objects that a resync found changed without an event.", ["kind"],
            registry=self.registry,
        )  # fmt: skip
        self.watch_restarts = Counter(
            "modelgarden_watch_restarts", "Times that the watches ended and were started again.",
            registry=self.registry,
        )  # fmt: skip
        self.is_leader = Gauge(
            "modelgarden_is_leader", "1 on the replica that works.", registry=self.registry
        )

    def gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Add a figure that is read when it is asked for."""
        Gauge(f"modelgarden_{name}", documentation, registry=self.registry).set_function(read)

    def reconciled(self, resource: Resource, seconds: float) -> None:
        """Count a reconcile, whatever its end."""
        self._reconcile.labels(resource.kind).observe(seconds)

    def failed(self, resource: Resource, reason: str) -> None:
        """Count a reconcile that failed."""
        self._errors.labels(resource.kind, reason).inc()

    def request(self, resource: Resource, verb: str, status: int) -> None:
        """Count an answer of the API server; status 0 is none."""
        if status == 0 or status >= 400:
            self._refusals.labels(resource.kind, verb, str(status)).inc()
        elif verb in _WRITES:
            self._writes.labels(resource.kind, verb).inc()

    def repaired(self, resource: Resource, objects: int) -> None:
        """Count objects whose events were missed."""
        self._repairs.labels(resource.kind).inc(objects)

    def render(self) -> bytes:
        """Return the exposition text."""
        return generate_latest(self.registry)
