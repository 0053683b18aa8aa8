"""The arithmetic of the emissions record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from modelgarden.api.emissions import (
    EARLIER,
    LOST,
    Attempt,
    EmissionsRecord,
    Energy,
    Intensity,
    Methods,
    emissions_milligrams,
    emissions_of,
    folded,
    merge_records,
    run_seconds,
    summed_up,
)

WHOLE = st.integers(min_value=0, max_value=2**50)
EPOCH = datetime(2026, 11, 21, tzinfo=UTC)

Times = tuple[int, int]
"""Start and length in seconds."""
TIMES = st.tuples(st.integers(0, 200), st.integers(0, 100))


def make_attempt(name: str, times: Times, *, joules: int = 10, reason: str = "Completed") -> Attempt:
    start, length = times
    return Attempt(
        id=name,
        start_time=stamp(start),
        end_time=stamp(start + length),
        energy_joules=Energy.of(gpu=joules, cpu=joules // 3),
        reason=reason,
    )


def make_attempts(times: Iterable[Times]) -> list[Attempt]:
    return [make_attempt(f"pod-{place}", one) for place, one in enumerate(times)]


def make_record(
    attempts: Sequence[Attempt], *, seconds: int | None = None, covered: int = 100
) -> EmissionsRecord:
    energy = sum((one.energy_joules for one in attempts), start=Energy())
    intensity = Intensity(milligrams_per_kwh=380_950, zone="DEU", source="data")
    return EmissionsRecord(
        state="Measured",
        energy_joules=energy,
        pue_milli=1200,
        pue_source="Spec",
        intensity=intensity,
        emissions_milligrams=emissions_of(energy, pue_milli=1200, intensity=intensity),
        methods=Methods(gpu="none", cpu="none", ram="none"),
        duration_seconds=run_seconds(attempts) if seconds is None else seconds,
        coverage_percent=covered,
        attempts=tuple(attempts),
        tool="none",
    )


def stamp(second: int) -> str:
    return (EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ")


def busy(times: Iterable[Times]) -> int:
    """Count the seconds in which something ran one by one."""
    return len({second for start, length in times for second in range(start, start + length)})


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


@given(st.lists(TIMES, max_size=20))
def test_seconds_in_which_several_attempts_ran_count_once(times: list[Times]) -> None:
    assert run_seconds(make_attempts(times)) == busy(times)


def test_two_pods_at_once_for_a_minute_are_a_minute() -> None:
    record = merge_records([make_record(make_attempts([(0, 60)])), make_record(make_attempts([(0, 60)]))])

    assert (record.duration_seconds, record.energy_joules) == (60, Energy.of(gpu=20, cpu=6))


def test_a_clock_that_was_set_back_takes_no_time_away() -> None:
    assert run_seconds(make_attempts([(100, -50), (100, 10)])) == 10


@given(st.lists(TIMES, min_size=1, max_size=90), st.randoms(use_true_random=False), st.integers(1, 89))
def test_a_sum_counts_the_same_in_any_order_and_in_any_groups(
    times: list[Times], dice: Random, cut: int
) -> None:
    records = [make_record([attempt]) for attempt in make_attempts(times)]
    whole = merge_records(records)
    parts = [part for part in (records[:cut], records[cut:]) if part]
    grouped = merge_records([merge_records(part) for part in parts])
    dice.shuffle(records)
    shuffled = merge_records(records)

    assert whole.duration_seconds == shuffled.duration_seconds == busy(times)
    assert whole.energy_joules == shuffled.energy_joules == grouped.energy_joules
    assert whole.attempts == shuffled.attempts
    assert busy(times[:cut]) <= grouped.duration_seconds <= busy(times)
    if len(times) <= 64:
        assert grouped == whole
    for record in (whole, grouped):
        holds(record)


def holds(record: EmissionsRecord) -> None:
    """Check the identities of every record."""
    energy = record.energy_joules
    assert energy.total == energy.gpu + energy.cpu + energy.ram
    assert sum((one.energy_joules for one in record.attempts), start=Energy()) == energy
    assert record.emissions_milligrams == emissions_of(
        energy, pue_milli=record.pue_milli, intensity=record.intensity
    )


def test_gaps_that_a_record_does_not_count_stay_uncounted() -> None:
    before = make_record(make_attempts([(0, 10), (90, 10)]), seconds=20)
    summed = before.model_copy(update={"attempts": folded(before.attempts, most=1)})

    for record in (before, summed):
        assert merge_records([record, make_record(make_attempts([(200, 5)]))]).duration_seconds == 25
        assert merge_records([record, make_record(make_attempts([(95, 10)]))]).duration_seconds == 25


def test_coverage_is_the_mean_by_the_time_of_each_record() -> None:
    long, short = make_attempts([(0, 90), (0, 30)])

    record = merge_records([make_record([long], covered=100), make_record([short], covered=20)])

    assert (record.duration_seconds, record.coverage_percent) == (90, 80)


@given(st.lists(TIMES, max_size=80), st.integers(1, 64), st.integers(1, 64))
def test_attempts_that_are_summed_up_keep_their_energy_and_their_time(
    times: list[Times], most: int, fewer: int
) -> None:
    attempts = make_attempts(times)

    kept = folded(attempts, most=most)

    assert len(kept) == min(len(attempts), most)
    assert sum((one.energy_joules for one in kept), start=Energy()) == sum(
        (one.energy_joules for one in attempts), start=Energy()
    )
    assert [one.start_time for one in kept] == sorted(one.start_time for one in kept)
    assert sum(one.id == EARLIER for one in kept) == (len(attempts) > most)
    if attempts:
        assert max(one.end_time for one in kept) == max(one.end_time for one in attempts)
    assert folded(kept, most=min(most, fewer)) == folded(attempts, most=min(most, fewer))


def test_what_two_records_had_summed_up_becomes_one_entry() -> None:
    first, second = (folded(make_attempts([(start, 1), (start + 1, 1)]), most=1) for start in (0, 50))

    (earlier, newest) = folded([*second, make_attempt("newest", (20, 1)), *first])

    assert earlier == summed_up([*first, *second])
    assert (earlier.id, earlier.start_time, earlier.end_time) == (EARLIER, stamp(0), stamp(52))
    assert newest.id == "newest"


@pytest.mark.parametrize(
    ("reasons", "want_reason"),
    [
        (("Failed", "Terminated", "Completed"), "Completed"),
        (("Completed", "Failed", "Terminated"), "Terminated"),
        ((LOST, "Completed", "Completed"), LOST),
    ],
)
def test_a_sum_ended_as_its_newest_attempt_but_for_one_that_was_lost(
    reasons: tuple[str, ...], want_reason: str
) -> None:
    attempts = [make_attempt(f"pod-{place}", (place, 1), reason=one) for place, one in enumerate(reasons)]

    assert summed_up(attempts[::-1]).reason == want_reason
