"""Sums of emissions records keep their identities and lose nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.emissions import EARLIER, EmissionsRecord, Energy, emissions_milligrams, folded
from modelgarden.carbon.accounting import continued
from tests.unit.builders import make_emissions, stamp


def hold_identities(record: EmissionsRecord) -> None:
    energy = record.energy_joules
    assert energy.total == energy.gpu + energy.cpu + energy.ram
    assert sum((one.energy_joules for one in record.attempts), Energy()) == energy
    if record.intensity is None:
        assert record.emissions_milligrams is None
    else:
        assert record.emissions_milligrams == emissions_milligrams(
            energy.total, pue_milli=record.pue_milli, milligrams_per_kwh=record.intensity.milligrams_per_kwh
        )


@given(
    st.lists(st.integers(min_value=0, max_value=10**12), max_size=80),
    st.lists(st.integers(min_value=0, max_value=10**12), min_size=1, max_size=60),
)
def test_a_record_that_goes_on_holds_its_identities(before: list[int], after: list[int]) -> None:
    known = make_emissions({f"old-{place}": energy for place, energy in enumerate(before[:64])})
    reported = make_emissions({f"new-{place}": energy for place, energy in enumerate(after)})

    record = continued(known, reported)

    hold_identities(record)
    assert record.energy_joules.total == sum(before[:64]) + sum(after)
    assert len(record.attempts) <= 64


def test_the_first_report_is_taken_as_it_is() -> None:
    assert continued(None, make_emissions()) == make_emissions()


def test_a_lost_attempt_stays_counted() -> None:
    known = make_emissions({"lost": 5000}, seconds_ago=660)

    record = continued(known, make_emissions({"next": 300}))

    hold_identities(record)
    assert record.energy_joules.total == 5300
    assert {one.id: one.reason for one in record.attempts} == {"lost": "Lost", "next": "Running"}
    assert record.duration_seconds == 120


def test_an_attempt_that_was_lost_while_the_next_ran_adds_no_time_of_its_own() -> None:
    known = make_emissions({"lost": 5000}, seconds_ago=620)

    record = continued(known, make_emissions({"next": 300}, seconds_ago=600))

    assert record.duration_seconds == 80


def test_what_a_lost_attempt_reported_beyond_its_record_is_time_too() -> None:
    known = make_emissions({"first": 5000})
    (seen,) = known.attempts
    left = known.model_copy(
        update={
            "attempts": (
                seen.model_copy(update={"end_time": stamp(580), "energy_joules": Energy.of(gpu=7)}),
            ),
            "energy_joules": Energy.of(gpu=7),
            "duration_seconds": 20,
        }
    )

    assert continued(known, left).duration_seconds == 60


def test_what_a_lost_attempt_last_reported_beats_what_it_left_in_storage() -> None:
    known = make_emissions({"first": 5000})

    record = continued(known, make_emissions({"first": 4000, "second": 10}, reason="Terminated"))

    hold_identities(record)
    assert record.energy_joules.total == 5010


def test_a_completed_attempt_is_taken_as_it_says() -> None:
    known = make_emissions({"only": 5002})

    record = continued(known, make_emissions({"only": 5000}, reason="Completed"))

    assert record == make_emissions({"only": 5000}, reason="Completed")


def test_energy_never_goes_back_even_where_old_attempts_were_summed_up() -> None:
    whole = make_emissions({f"pod-{place}": 10 for place in range(60)})
    known = whole.model_copy(update={"attempts": folded(whole.attempts, most=8)})

    record = continued(known, make_emissions({"new": 5}))

    assert any(one.id == EARLIER for one in known.attempts)
    assert record.energy_joules.total == 600
