"""The record of an attempt: identities hold and no gap looks like a zero."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from modelgarden.api.emissions import EmissionsRecord, Energy, Intensity, Methods
from modelgarden.api.pods import PodCarbon
from modelgarden_pod.energy import Metering, Span, attempt_record

START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
GERMANY = Intensity(milligrams_per_kwh=380_950, zone="DEU", source="data", data_year=2023)
CPU_ONLY = Metering(
    methods=Methods(gpu="none", cpu="cpu-load-model", ram="dimm-model-share"),
    intensity=GERMANY,
    tool="codecarbon 3.3.2",
)


def make_record(
    metering: Metering = CPU_ONLY, *, energy: Energy | None = None, covered: float = 95.0
) -> EmissionsRecord:
    return attempt_record(
        energy or Energy.of(cpu=3_000_000, ram=600_000),
        metering=metering,
        carbon=PodCarbon(zone="DEU", pue_milli=1200, pue_given=True),
        span=Span(start=START, end=START + timedelta(seconds=100), covered_seconds=covered),
        attempt="pod-1",
        reason="Running",
    )


def test_emissions_are_energy_times_pue_times_intensity() -> None:
    record = make_record()

    assert record.energy_joules.total == 3_600_000  # 1 kWh
    assert record.emissions_milligrams == 457_140  # 1.2 x 380.95 g
    assert record.pue_source == "Spec"
    assert record.coverage_percent == 95
    assert record.duration_seconds == 100
    assert record.attempts[0].energy_joules == record.energy_joules


@pytest.mark.parametrize(
    ("metering", "covered", "want_state"),
    [
        pytest.param(CPU_ONLY, 95.0, "Estimated", id="a load model"),
        pytest.param(
            replace(CPU_ONLY, methods=Methods(gpu="nvml-energy-counter", cpu="none", ram="none")),
            95.0,
            "Measured",
            id="counters only",
        ),
        pytest.param(replace(CPU_ONLY, complete=False), 95.0, "Partial", id="a GPU that is not metered"),
        pytest.param(replace(CPU_ONLY, intensity=None), 95.0, "Partial", id="no zone"),
        pytest.param(CPU_ONLY, 0.0, "Unavailable", id="no sample at all"),
    ],
)
def test_the_state_says_how_good_the_figure_is(metering: Metering, covered: float, want_state: str) -> None:
    assert make_record(metering, covered=covered).state == want_state


def test_without_a_zone_energy_is_recorded_and_emissions_are_left_out() -> None:
    record = make_record(replace(CPU_ONLY, intensity=None))

    assert record.energy_joules.total == 3_600_000
    assert record.emissions_milligrams is None
    assert record.intensity is None
