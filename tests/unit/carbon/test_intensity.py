"""The operator's own table of intensities."""

from __future__ import annotations

import pytest

from modelgarden.api.zones import ZONES
from modelgarden.carbon.intensity import intensity_of


def test_every_zone_of_the_api_has_an_intensity() -> None:
    assert [zone for zone in ZONES if intensity_of(zone) is None] == []


@pytest.mark.parametrize("zone", [None, "", "XKX"])
def test_no_zone_and_an_unknown_one_have_none(zone: str | None) -> None:
    assert intensity_of(zone) is None


def test_a_figure_names_its_zone_source_and_year() -> None:
    found = intensity_of("DEU")

    assert found is not None
    assert found.to_dict() == {
        "milligramsPerKWh": 380_950,
        "zone": "DEU",
        "source": "codecarbon-3.3.2/global_energy_mix.json",
        "dataYear": 2023,
    }
