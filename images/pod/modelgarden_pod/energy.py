"""Energy and emissions of this pod, metered by CodeCarbon, as the API's EmissionsRecord.

CodeCarbon meters; everything that makes the record auditable is ours: PUE applied once, the intensity with its
source, the methods by component, the duration by our own clock, and a state that never hides a gap as a zero.

The CPU's energy is that of the load model, by the CPU time of the pod's processes. RAPL, where a pod can read it at
all, counts the whole machine, so that each pod would be charged with the work of all.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from modelgarden.api.emissions import (
    JOULES_PER_KWH,
    Attempt,
    CarbonState,
    EmissionsRecord,
    Energy,
    Intensity,
    Methods,
    emissions_of,
)
from modelgarden.api.names import ATTEMPT_VARIABLE
from modelgarden.api.pods import PodCarbon
from modelgarden_pod.cgroup import memory_limit_bytes
from modelgarden_pod.gpus import COUNTER, NONE, GpuLoad, GpuWatch, MeteredGpus, metered_gpus

logger = logging.getLogger(__name__)

SAMPLE_SECONDS = 5.0
_NEVER_SECONDS = 1e8
"""Interval of CodeCarbon's own scheduler: our sampler calls instead, so that no two measurements overlap."""


@dataclass(frozen=True)
class Metering:
    """What is metered and how; fixed when metering begins."""

    methods: Methods
    devices: tuple[str, ...] = ()
    complete: bool = True
    """Whether every component that the pod was given is metered."""
    intensity: Intensity | None = None
    tool: str = "codecarbon"


@dataclass(frozen=True)
class Span:
    """When an attempt ran and how much of it is covered by samples."""

    start: datetime
    end: datetime
    covered_seconds: float

    @property
    def seconds(self) -> float:
        return max(0.0, (self.end - self.start).total_seconds())

    @property
    def coverage_percent(self) -> int:
        if self.seconds == 0.0:
            return 0
        return min(100, round(100 * self.covered_seconds / self.seconds))


def attempt_record(
    energy: Energy, *, metering: Metering, carbon: PodCarbon, span: Span, attempt: str, reason: str
) -> EmissionsRecord:
    """Return the record of one attempt."""
    return EmissionsRecord(
        state=_state(metering, covered=span.covered_seconds > 0),
        energy_joules=energy,
        pue_milli=carbon.pue_milli,
        pue_source="Spec" if carbon.pue_given else "Default",
        intensity=metering.intensity,
        emissions_milligrams=emissions_of(energy, pue_milli=carbon.pue_milli, intensity=metering.intensity),
        methods=metering.methods,
        devices=metering.devices,
        duration_seconds=round(span.seconds),
        coverage_percent=span.coverage_percent,
        attempts=(
            Attempt(
                id=attempt,
                start_time=timestamp(span.start),
                end_time=timestamp(span.end),
                energy_joules=energy,
                reason=reason,
            ),
        ),
        tool=metering.tool,
    )


def _state(metering: Metering, *, covered: bool) -> CarbonState:
    if not covered:
        return "Unavailable"
    if not metering.complete or metering.intensity is None:
        return "Partial"
    methods = {metering.methods.gpu, metering.methods.cpu, metering.methods.ram}
    return "Measured" if methods <= {COUNTER, NONE} else "Estimated"


def timestamp(moment: datetime) -> str:
    """Return RFC 3339 in UTC with whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def carbon_intensity(zone: str | None) -> Intensity | None:
    """Return the yearly average intensity that CodeCarbon ships for a zone, None for no or an unknown zone."""
    from codecarbon import __version__
    from codecarbon.input import DataSource

    row = DataSource().get_global_energy_mix_data().get(zone) if zone else None
    if zone is None or row is None:
        return None
    return Intensity(
        milligrams_per_kwh=round(row["carbon_intensity"] * 1000),
        zone=zone,
        source=f"codecarbon-{__version__}/global_energy_mix.json",
        data_year=row["year"],
    )


class EnergyMeter:
    """Meters this process and its children from `start` on. A failure of CodeCarbon never stops the pod."""

    def __init__(self, carbon: PodCarbon, *, attempt: str, gpus: int) -> None:
        self._carbon = carbon
        self._attempt = attempt
        self._gpus = gpus
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._created = datetime.now(UTC)
        self._created_clock = time.monotonic()
        self._first_clock: float | None = None
        self._last_clock: float | None = None
        self._energy = Energy()
        self._metering = Metering(methods=Methods(gpu=NONE, cpu=NONE, ram=NONE), complete=False)
        self._watch = GpuWatch(MeteredGpus())
        self._tracker: Any = None

    def start(self) -> None:
        """Begin metering; takes two to three seconds."""
        try:
            self._begin()
        except Exception:
            logger.exception("Energy cannot be metered")
        threading.Thread(target=self._sample_regularly, name="energy", daemon=True).start()

    def energy(self) -> Energy:
        """Measure now and return the energy since the start, in joules before PUE."""
        with self._lock:
            self._measure()
            return self._energy

    def record(self, reason: str = "Running") -> EmissionsRecord:
        """Measure now and return this attempt's record so far."""
        with self._lock:
            self._measure()
            covered = (
                self._last_clock - self._first_clock
                if self._last_clock is not None and self._first_clock is not None
                else 0.0
            )
            elapsed = time.monotonic() - self._created_clock
            end = datetime.fromtimestamp(self._created.timestamp() + elapsed, UTC)
            span = Span(start=self._created, end=end, covered_seconds=covered)
            return attempt_record(
                self._energy,
                metering=self._seen(),
                carbon=self._carbon,
                span=span,
                attempt=self._attempt,
                reason=reason,
            )

    @property
    def gpu_load(self) -> GpuLoad | None:
        """What the newest measurement saw of the GPUs, None where none is metered; waits for nothing."""
        return self._watch.load

    def stop(self) -> None:
        """End metering; what was metered stays readable."""
        with self._lock:
            self._measure()
            self._stopped.set()
            if self._tracker is not None:
                self._tracker.stop()
                self._tracker = None

    def _begin(self) -> None:
        from codecarbon import OfflineEmissionsTracker, __version__
        from codecarbon.external.ram import RAM
        from codecarbon.output import BaseOutput

        logging.getLogger("codecarbon").setLevel(logging.ERROR)
        meter = self

        class Sink(BaseOutput):  # type: ignore[misc]
            """Takes the totals of a measurement; called by `flush` in the thread that holds the lock."""

            def out(self, total: Any, delta: Any) -> None:
                meter._take(total)

        gpus = metered_gpus(self._gpus)
        intensity = carbon_intensity(self._carbon.zone)
        ram = RAM(tracking_mode="machine")
        tracker = OfflineEmissionsTracker(
            country_iso_code=self._carbon.zone,
            force_carbon_intensity_g_co2e_kwh=intensity.milligrams_per_kwh / 1000 if intensity else 0.0,
            pue=1.0,  # applied once, by the record
            tracking_mode="process",
            force_mode_cpu_load=True,  # else RAPL is taken where it can be read
            force_ram_power=ram.total_power().W * _memory_share(ram.machine_memory_GB * 1024**3),
            gpu_ids=list(gpus.indices),
            measure_power_secs=_NEVER_SECONDS,
            output_methods=[],
            output_handlers=[Sink()],
            emissions_endpoint=None,
            log_level="error",
            allow_multiple_runs=True,
        )
        with self._lock:
            tracker.start()
            self._first_clock = time.monotonic()
            tracker.flush()
            if self._last_clock is None:
                raise RuntimeError("CodeCarbon gave up at its start")
            self._tracker = tracker
            self._watch = GpuWatch(gpus)
            self._metering = Metering(
                methods=Methods(gpu=gpus.method, cpu="cpu-load-model", ram="dimm-model-share"),
                devices=gpus.uuids,
                complete=len(gpus.indices) == self._gpus,
                intensity=intensity,
                tool=f"codecarbon {__version__}",
            )

    def _seen(self) -> Metering:
        """Return the metering with what has become of the GPUs."""
        return replace(
            self._metering,
            methods=self._metering.methods.model_copy(update={"gpu": self._watch.method}),
            complete=self._metering.complete and self._watch.complete,
        )

    def _take(self, total: Any) -> None:
        """Keep the totals; they never fall, whatever a counter does."""
        self._energy = Energy.of(
            gpu=max(self._energy.gpu, round(total.gpu_energy * JOULES_PER_KWH)),
            cpu=max(self._energy.cpu, round(total.cpu_energy * JOULES_PER_KWH)),
            ram=max(self._energy.ram, round(total.ram_energy * JOULES_PER_KWH)),
        )
        self._last_clock = time.monotonic()

    def _measure(self) -> None:
        if self._tracker is not None:
            self._tracker.flush()
            self._watch.look()

    def _sample_regularly(self) -> None:
        while not self._stopped.wait(SAMPLE_SECONDS):
            with self._lock:
                self._measure()


def _memory_share(host_bytes: float) -> float:
    """The pod's share of the host's memory: its limit, where it has one."""
    limit = memory_limit_bytes()
    return min(1.0, limit / host_bytes) if limit else 1.0


def attempt_id() -> str:
    """Return the identity of this attempt: the pod's UID, or one made up where there is no pod."""
    return os.environ.get(ATTEMPT_VARIABLE) or f"local-{uuid.uuid4()}"
