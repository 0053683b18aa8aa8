"""The arithmetic of the emissions record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from modelgarden.api.emissions import Energy, emissions_milligrams

WHOLE = st.integers(min_value=0, max_value=2**50)


@pytest.mark.parametrize(
    ("joules", "pue_milli", "milligrams_per_kwh", "want_milligrams"),
    [
        (3_600_000, 1000, 300_000, 300_000),  # 1 kWh at 300 g/kWh is 300 g
        (3_600_000_000, 1000, 380_950, 380_950_000),  # 1 MWh at 380.95 g/kWh is 380.95 kg
        (3_600_000, 1200, 300_000, 360_000),  # PUE 1.2
        (36, 1000, 300_000, 3),  # 0.01 Wh is 3 mg
        (6, 1000, 300_000, 1),  # 0.5 mg, half up
        (5, 1000, 300_000, 0),  # 0.417 mg
        (0, 5000, 1_000_000, 0),
        (12_345, 1000, 0, 0),
    ],
)
def test_emissions_are_energy_times_pue_times_intensity(
    joules: int, pue_milli: int, milligrams_per_kwh: int, want_milligrams: int
) -> None:
    assert (
        emissions_milligrams(joules, pue_milli=pue_milli, milligrams_per_kwh=milligrams_per_kwh)
        == want_milligrams
    )


@given(joules=WHOLE, pue_milli=st.integers(1000, 5000), intensity=st.integers(0, 2_000_000))
def test_rounding_is_off_by_half_a_milligram_at_most(joules: int, pue_milli: int, intensity: int) -> None:
    milligrams = emissions_milligrams(joules, pue_milli=pue_milli, milligrams_per_kwh=intensity)

    exact_times_denominator = joules * pue_milli * intensity
    assert abs(milligrams * 3_600_000_000 - exact_times_denominator) * 2 <= 3_600_000_000


@given(st.tuples(WHOLE, WHOLE, WHOLE), st.tuples(WHOLE, WHOLE, WHOLE))
def test_the_total_stays_the_sum_of_the_components(
    first: tuple[int, int, int], second: tuple[int, int, int]
) -> None:
    total = Energy.of(gpu=first[0], cpu=first[1], ram=first[2]) + Energy.of(
        gpu=second[0], cpu=second[1], ram=second[2]
    )

    assert total.total == total.gpu + total.cpu + total.ram == sum(first) + sum(second)


def test_a_record_whose_total_is_not_the_sum_is_refused() -> None:
    with pytest.raises(ValidationError, match="total must be gpu"):
        Energy(gpu=1, cpu=2, ram=3, total=7)
