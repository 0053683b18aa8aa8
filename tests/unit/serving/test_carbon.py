"""Totals over pods that come and go."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.emissions import EARLIER, emissions_milligrams
from modelgarden.api.modeldeployment import ServingCarbon
from modelgarden.api.pods import PodCarbon, ServeReport
from modelgarden.serving.carbon import KEPT_GONE, account, with_factors
from tests.unit.serving.builders import NOW, report

GERMANY = PodCarbon(zone="DEU", pue_milli=1200, pue_given=True)
SINCE = NOW - timedelta(seconds=90)


def counted(
    previous: ServingCarbon | None,
    reports: Sequence[ServeReport],
    live: frozenset[str],
    due: frozenset[str] = frozenset(),
) -> ServingCarbon | None:
    """Return the totals of pods that serve for 90 seconds where their report is due."""
    return account(previous, reports, live=live, due=dict.fromkeys(due, SINCE))


def totals(carbon: ServingCarbon | None) -> tuple[int, int, int]:
    assert carbon is not None
    return carbon.total.energy_joules.total, carbon.idle_joules, carbon.generated_tokens


def holds(carbon: ServingCarbon) -> None:
    """Check the identities that an auditor relies on."""
    total = carbon.total
    assert total.energy_joules.total == sum(one.energy_joules.total for one in total.attempts)
    assert [one.id for one in total.attempts] == [one.id for one in carbon.pods]
    assert len({one.id for one in total.attempts}) == len(total.attempts) <= 64
    assert carbon.idle_joules == sum(one.idle_joules for one in carbon.pods)
    if total.intensity is not None:
        assert total.emissions_milligrams == emissions_milligrams(
            total.energy_joules.total,
            pue_milli=total.pue_milli,
            milligrams_per_kwh=total.intensity.milligrams_per_kwh,
        )


def test_nothing_is_recorded_before_a_pod_reports() -> None:
    assert counted(None, (), frozenset({"a"})) is None


def test_pods_add_up() -> None:
    carbon = counted(
        None, [report("a", joules=100, idle=40, tokens=7), report("b", joules=50)], frozenset("ab")
    )

    assert totals(carbon) == (150, 40, 7)
    assert carbon is not None
    assert carbon.prompt_tokens == 14
    holds(carbon)


def test_a_newer_report_replaces_the_older_one_of_its_pod() -> None:
    first = counted(None, [report("a", joules=100, tokens=5)], frozenset("a"))
    second = counted(first, [report("a", joules=130, tokens=9, seconds=90)], frozenset("a"))

    assert totals(second) == (130, 0, 9)
    assert second is not None
    assert second.total.duration_seconds == 90


def test_the_time_between_two_containers_of_a_pod_is_not_covered() -> None:
    whole = report("a", joules=100, seconds=200)
    metered = whole.model_copy(
        update={"emissions": whole.emissions.model_copy(update={"duration_seconds": 50})}
    )

    carbon = counted(None, [metered], frozenset("a"))

    assert carbon is not None
    assert (carbon.total.duration_seconds, carbon.total.coverage_percent) == (200, 25)


def test_a_pod_that_is_gone_still_counts() -> None:
    first = counted(None, [report("a", joules=100, idle=60, tokens=5)], frozenset("a"))
    second = counted(first, [report("b", joules=20, start=60)], frozenset("b"))

    assert totals(second) == (120, 60, 5)
    assert second is not None
    assert {one.id: one.reason for one in second.total.attempts} == {"a": "Terminated", "b": "Running"}
    assert second.total.duration_seconds == 120


def test_pods_that_serve_side_by_side_run_for_the_time_of_one() -> None:
    first = counted(None, [report("a", joules=1), report("b", joules=1, start=30)], frozenset("ab"))
    second = counted(
        first, [report("a", joules=2, seconds=100), report("b", joules=2, start=30)], frozenset("ab")
    )

    assert first is not None
    assert first.total.duration_seconds == 90
    assert second is not None
    assert second.total.duration_seconds == 100


def test_time_in_which_nothing_served_stays_uncounted_when_pods_are_summed_up() -> None:
    carbon: ServingCarbon | None = None
    for number in range(KEPT_GONE + 10):
        uid = f"p{number:02}"
        carbon = counted(carbon, [report(uid, joules=1, start=1000 * number)], frozenset([uid]))

    assert carbon is not None
    assert carbon.total.attempts[0].id == EARLIER
    assert carbon.total.duration_seconds == 60 * (KEPT_GONE + 10)


def test_a_pod_that_does_not_answer_keeps_its_figures() -> None:
    first = counted(None, [report("a", joules=100), report("b", joules=10)], frozenset("ab"))
    second = counted(first, [report("b", joules=30)], frozenset("ab"))

    assert totals(second)[0] == 130


def test_counters_that_began_anew_add_to_what_was_counted() -> None:
    first = counted(None, [report("a", joules=100, tokens=50)], frozenset("a"))
    second = counted(first, [report("a", joules=5, tokens=1, start=100)], frozenset("a"))
    third = counted(second, [report("a", joules=8, tokens=2, start=100)], frozenset("a"))

    assert totals(second) == (105, 0, 51)
    assert totals(third) == (108, 0, 52)
    assert third is not None
    assert [one.id for one in third.total.attempts] == [EARLIER, "a"]
    holds(third)


def test_the_oldest_pods_that_are_gone_become_one_entry() -> None:
    carbon: ServingCarbon | None = None
    for number in range(KEPT_GONE + 10):
        carbon = counted(
            carbon, [report(f"p{number}", joules=10, tokens=1, start=number)], frozenset([f"p{number}"])
        )
    assert carbon is not None

    assert totals(carbon) == ((KEPT_GONE + 10) * 10, 0, KEPT_GONE + 10)
    assert carbon.total.attempts[0].id == EARLIER
    assert len(carbon.total.attempts) == KEPT_GONE + 2
    holds(carbon)


def test_more_pods_than_a_record_lists_are_a_partial_record() -> None:
    reports = [report(f"p{number}", joules=10, start=number) for number in range(80)]
    live = frozenset(one.attempt for one in reports)

    first = counted(None, reports, live)
    second = counted(first, reports, live)

    assert first is not None
    assert first.total.state == "Partial"
    assert len(first.total.attempts) == 63
    assert second is not None
    assert [one.id for one in second.total.attempts] == [one.id for one in first.total.attempts]


def test_pods_that_are_gone_leave_less_room_for_new_ones() -> None:
    carbon: ServingCarbon | None = None
    for number in range(KEPT_GONE + 2):
        carbon = counted(
            carbon, [report(f"gone-{number:02}", joules=1, start=number)], frozenset([f"gone-{number:02}"])
        )
    many = [report(f"p{number:02}", joules=10, start=100 + number) for number in range(60)]
    live = frozenset(one.attempt for one in many)

    carbon = counted(carbon, many, live)

    assert carbon is not None
    assert carbon.total.state == "Partial"
    assert sum(one.reason == "Running" for one in carbon.total.attempts) == 64 - 1 - KEPT_GONE
    holds(carbon)


def test_silent_pods_are_listed_only_where_there_is_room() -> None:
    told = [report(f"p{number:02}", joules=1) for number in range(62)]
    live = frozenset(one.attempt for one in told) | {"silent-a", "silent-b", "silent-c"}
    first = counted(None, told, live)

    some = counted(first, told, live, live)
    full = counted(counted(None, told[:61], live), [*told, report("p62", joules=1)], live | {"p62"}, live)

    assert some is not None
    assert [one.id for one in some.total.attempts if one.reason == "Lost"] == ["silent-a"]
    assert full is not None
    assert [one.id for one in full.total.attempts if one.reason == "Lost"] == []
    for carbon in (some, full):
        assert carbon.total.state == "Partial"
        holds(carbon)


def test_a_pod_whose_tokens_were_never_noted_counts_on() -> None:
    first = counted(None, [report("a", joules=100)], frozenset("a"))
    assert first is not None

    second = counted(first.model_copy(update={"pods": ()}), [report("b", joules=5, start=60)], frozenset("b"))

    assert totals(second) == (105, 0, 0)
    assert second is not None
    assert second.prompt_tokens == 0
    holds(second)


def test_a_pod_that_has_only_begun_to_meter_has_no_time_yet() -> None:
    carbon = counted(None, [report("a", joules=0, seconds=0)], frozenset("a"))

    assert carbon is not None
    assert (carbon.total.duration_seconds, carbon.total.coverage_percent) == (0, 100)


def test_coverage_is_the_mean_by_the_pods_own_time() -> None:
    first = counted(None, [report("a", joules=1, seconds=90)], frozenset("a"))
    half = report("b", joules=1, start=90, seconds=30)
    half = half.model_copy(update={"emissions": half.emissions.model_copy(update={"coverage_percent": 20})})

    second = counted(first, [half], frozenset("b"))

    assert second is not None
    assert second.total.coverage_percent == 80


def test_a_restart_among_as_many_pods_as_a_record_lists_has_its_entry() -> None:
    uids = [f"p{number:02}" for number in range(64)]
    first = counted(None, [report(uid, joules=100, tokens=10) for uid in uids], frozenset(uids))
    again = [report("p00", joules=1), *(report(uid, joules=200, tokens=20) for uid in uids[1:])]
    second = counted(first, again, frozenset(uids))
    gone = counted(second, [report("new", joules=5, start=90)], frozenset({"new"}))

    assert totals(second) == (100 + 1 + 62 * 200, 0, 10 + 62 * 20)
    assert totals(gone)[0] == totals(second)[0] + 5
    for carbon in (second, gone):
        assert carbon is not None
        holds(carbon)


def test_a_pod_that_never_answers_makes_the_total_partial_until_it_does() -> None:
    told = report("a", joules=100)
    silent = counted(None, [told], frozenset("ab"), frozenset("ab"))
    still = counted(silent, [told], frozenset("ab"), frozenset("ab"))
    heard = counted(still, [told, report("b", joules=50)], frozenset("ab"), frozenset("ab"))

    assert [one and one.total.state for one in (silent, still, heard)] == ["Partial", "Partial", "Estimated"]
    assert totals(heard)[0] == 150
    for carbon in (silent, still, heard):
        assert carbon is not None
        holds(carbon)


def test_a_total_stays_partial_when_a_pod_ends_that_never_answered() -> None:
    carbon = counted(None, [report("a", joules=100)], frozenset("a"))
    carbon = counted(carbon, [report("a", joules=110)], frozenset("ab"), frozenset("ab"))
    for step in range(KEPT_GONE + 3):
        uid = f"p{step}"
        carbon = counted(carbon, [report("a", joules=120), report(uid, joules=1)], frozenset(["a", uid]))

        assert carbon is not None
        assert carbon.total.state == "Partial"
        assert "Lost" in {one.reason for one in carbon.total.attempts}
        holds(carbon)


def test_a_total_is_whole_again_once_a_late_report_has_come_though_pods_have_gone() -> None:
    told = report("a", joules=100)
    silent = counted(None, [told], frozenset("ab"), frozenset("ab"))
    heard = counted(silent, [told, report("b", joules=50)], frozenset("ab"), frozenset("ab"))
    gone = counted(heard, [report("b", joules=60)], frozenset("b"), frozenset("b"))

    assert [one and one.total.state for one in (silent, heard, gone)] == ["Partial", "Estimated", "Estimated"]


def test_a_zone_that_is_given_when_pods_have_gone_makes_the_total_whole() -> None:
    first = counted(None, [report("a", joules=100), report("b", joules=50)], frozenset("ab"))
    assert first is not None
    without = with_factors(first, PodCarbon())

    later = counted(without, [report("b", joules=60)], frozenset("b"))

    assert without.total.state == "Partial"
    assert later is not None
    assert with_factors(later, GERMANY).total.state == "Estimated"


def test_a_pod_that_has_only_begun_is_not_missed() -> None:
    carbon = counted(None, [report("a", joules=100)], frozenset("ab"), frozenset("a"))

    assert carbon is not None
    assert carbon.total.state == "Estimated"


def test_a_known_pod_that_does_not_answer_for_now_is_not_missed() -> None:
    first = counted(None, [report("a", joules=100), report("b", joules=10)], frozenset("ab"), frozenset("ab"))
    second = counted(first, [report("a", joules=130)], frozenset("ab"), frozenset("ab"))

    assert second is not None
    assert second.total.state == "Estimated"


def test_a_zone_that_is_given_later_counts_for_all_energy() -> None:
    first = counted(None, [report("a", joules=3_600_000, intensity=None, tokens=1000)], frozenset("a"))
    assert first is not None
    without = with_factors(first, PodCarbon())
    given = with_factors(first, GERMANY)

    assert (without.total.emissions_milligrams, without.milligrams_per_1000_tokens) == (None, None)
    assert given.total.emissions_milligrams == 380_950 * 12 // 10
    assert given.milligrams_per_1000_tokens == "457140.000"
    assert given.total.energy_joules == first.total.energy_joules
    holds(given)


def test_the_factors_that_hold_now_take_the_place_of_those_that_the_pods_began_with() -> None:
    first = counted(None, [report("a", joules=3_600_000)], frozenset("a"))
    assert first is not None

    moved = with_factors(first, PodCarbon(zone="FRA", pue_milli=1000)).total

    assert moved.intensity is not None
    assert (moved.intensity.zone, moved.pue_milli, moved.pue_source) == ("FRA", 1000, "Default")
    assert moved.emissions_milligrams == moved.intensity.milligrams_per_kwh
    assert moved.state == "Estimated"


def test_without_a_known_zone_the_total_is_partial() -> None:
    for state in ("Estimated", "Measured"):
        first = counted(None, [report("a", joules=3_600_000, state=state)], frozenset("a"))
        assert first is not None

        assert [with_factors(first, PodCarbon(zone=zone)).total.state for zone in (None, "XKX", "DEU")] == [
            "Partial", "Partial", state,
        ]  # fmt: skip


def test_milligrams_per_1000_tokens_leave_idle_energy_out() -> None:
    carbon = counted(None, [report("a", joules=7_200_000, idle=3_600_000, tokens=500)], frozenset("a"))

    assert carbon is not None
    assert Decimal(carbon.milligrams_per_1000_tokens or "0") == Decimal(380_950) * Decimal("1.2") * 2


def test_tokens_of_pods_that_count_all_energy_as_idle_cost_nothing() -> None:
    carbon = counted(None, [report("a", joules=1000, idle=1000, tokens=1)], frozenset("a"))

    assert carbon is not None
    assert carbon.milligrams_per_1000_tokens == "0.000"


def test_a_few_tokens_have_a_figure_below_a_milligram() -> None:
    carbon = counted(None, [report("a", joules=1, tokens=1000)], frozenset("a"))

    assert carbon is not None
    assert carbon.milligrams_per_1000_tokens == "0.127"


def test_without_tokens_there_is_no_figure_per_token() -> None:
    carbon = counted(None, [report("a", joules=1000)], frozenset("a"))

    assert carbon is not None
    assert carbon.milligrams_per_1000_tokens is None


@pytest.mark.parametrize("states", [("Estimated", "Unavailable"), ("Unavailable", "Estimated")])
def test_a_pod_that_cannot_meter_makes_the_total_partial(states: tuple[str, str]) -> None:
    reports = [report("a", joules=1, state=states[0]), report("b", joules=1, state=states[1])]

    carbon = counted(None, reports, frozenset("ab"))

    assert carbon is not None
    assert carbon.total.state == "Partial"


@given(seed=st.integers(0, 10**9))
def test_totals_never_fall_and_the_identities_hold(seed: int) -> None:
    dice = random.Random(seed)
    counters: dict[str, list[int]] = {}
    carbon: ServingCarbon | None = None
    before = (0, 0, 0)
    truth = 0
    for step in range(40):
        if len(counters) < 4 and dice.random() < 0.4:
            counters[f"p{step}"] = [0, 0, step]
        if counters and dice.random() < 0.2:
            counters.pop(dice.choice(list(counters)))
        for count in counters.values():
            if dice.random() < 0.05:
                count[0] = count[1] = 0
            gained = dice.randint(1, 50)
            count[0], count[1], truth = count[0] + gained, count[1] + dice.randint(0, 9), truth + gained
        reports = [
            report(
                uid, joules=count[0], idle=count[0] // 2, tokens=count[1], start=count[2], seconds=step + 1
            )
            for uid, count in counters.items()
            if dice.random() < 0.8
        ]
        carbon = counted(carbon, reports, frozenset(counters))
        if carbon is None:
            continue
        holds(carbon)
        now = totals(carbon)
        assert all(new >= old for new, old in zip(now, before, strict=True))
        assert now[0] <= truth
        before = now
