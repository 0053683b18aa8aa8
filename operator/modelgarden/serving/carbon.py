"""The energy of a ModelDeployment: what its pods report, summed so that it outlives them. Pure.

The factors (PUE, intensity) that hold now stand for all energy, because spec.carbon says what emissions are computed
with: a zone that is given later, or corrected, counts for what was metered before, whatever a pod was started with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from modelgarden.api.emissions import (
    EARLIER,
    LOST,
    MOST_ATTEMPTS,
    Attempt,
    EmissionsRecord,
    Energy,
    emissions_milligrams,
    emissions_of,
    merge_records,
    merged_state,
    run_seconds,
    summed_up,
)
from modelgarden.api.modeldeployment import ServingCarbon, ServingCounters
from modelgarden.api.pods import PodCarbon, ServeReport
from modelgarden.carbon.intensity import intensity_of

KEPT_GONE: Final = 16
"""Pods that are gone and still listed one by one; older ones are summed up."""


@dataclass(frozen=True)
class _Pod:
    attempt: Attempt
    counters: ServingCounters


def account(
    previous: ServingCarbon | None,
    reports: Sequence[ServeReport],
    *,
    live: frozenset[str],
    due: Mapping[str, datetime],
) -> ServingCarbon | None:
    """Return the totals after new reports, with the pods' own factors.

    `live` are the UIDs of the pods that exist, `due` since when those serve that should have reported by now. Totals
    never fall: what a pod had counted before its counters began anew stays in the sum. They are Partial while a pod is
    missing from them, and stay so when it ends without a report.
    """
    known = _known(previous)
    usable = sorted(
        (report for report in reports if report.emissions.attempts),
        key=lambda report: report.emissions.attempts[0].start_time,
    )
    restarted = frozenset(report.attempt for report in usable if _fell(known.get(report.attempt), report))
    gone = _folded(
        [_ended(pod) for uid, pod in known.items() if uid in restarted],
        [_ended(pod) for uid, pod in known.items() if uid not in live],
    )
    staying = {uid for uid in known if uid in live}
    # One entry is for EARLIER, which a restart may need at any time.
    room = MOST_ATTEMPTS - 1 - sum(pod.attempt.id != EARLIER for pod in gone) - len(staying)
    newcomers = [report.attempt for report in usable if report.attempt not in staying]
    untracked = frozenset(newcomers[max(0, room) :])
    tracked = [report for report in usable if report.attempt not in untracked]
    told = frozenset(report.attempt for report in tracked)
    silent = sorted(due.keys() - told - untracked - known.keys())
    rest = (
        *gone,
        *(known[uid] for uid in sorted(staying - told - restarted)),
        *(_lost(uid, due[uid]) for uid in silent[: max(0, room - len(newcomers))] if previous is not None),
    )
    if not tracked and previous is None:
        return None
    total = _total(previous, rest, tracked)
    if untracked or silent or any(pod.attempt.reason == LOST for pod in rest):
        total = total.model_copy(update={"state": "Partial"})
    place = {attempt.id: place for place, attempt in enumerate(total.attempts)}
    counters = [*(pod.counters for pod in rest), *(_counters(report) for report in tracked)]
    return _summed(total, sorted(counters, key=lambda one: place.get(one.id, len(place))))


def with_factors(carbon: ServingCarbon, factors: PodCarbon) -> ServingCarbon:
    """Return the totals with the emissions that these factors give; without a known zone they are Partial."""
    total, intensity = carbon.total, intensity_of(factors.zone)
    metered = total.state in ("Measured", "Estimated")
    computed = total.model_copy(
        update={
            "state": "Partial" if metered and intensity is None else total.state,
            "pue_milli": factors.pue_milli,
            "pue_source": "Spec" if factors.pue_given else "Default",
            "intensity": intensity,
            "emissions_milligrams": emissions_of(
                total.energy_joules, pue_milli=factors.pue_milli, intensity=intensity
            ),
        }
    )
    return _summed(computed, carbon.pods)


def _known(previous: ServingCarbon | None) -> Mapping[str, _Pod]:
    if previous is None:
        return {}
    counters = {one.id: one for one in previous.pods}
    return {
        attempt.id: _Pod(attempt, counters.get(attempt.id) or _no_counters(attempt.id))
        for attempt in previous.total.attempts
    }


def _no_counters(uid: str) -> ServingCounters:
    return ServingCounters(id=uid, idle_joules=0, generated_tokens=0, prompt_tokens=0, state="Unavailable")


def _counters(report: ServeReport) -> ServingCounters:
    return ServingCounters(
        id=report.attempt,
        idle_joules=report.idle_joules,
        generated_tokens=report.generated_tokens,
        prompt_tokens=report.prompt_tokens,
        state=report.emissions.state,
    )


def _fell(pod: _Pod | None, report: ServeReport) -> bool:
    return pod is not None and (
        report.emissions.energy_joules.total < pod.attempt.energy_joules.total
        or report.generated_tokens < pod.counters.generated_tokens
    )


def _ended(pod: _Pod) -> _Pod:
    if pod.attempt.reason != "Running":
        return pod
    return replace(pod, attempt=pod.attempt.model_copy(update={"reason": "Terminated"}))


def _lost(uid: str, since: datetime) -> _Pod:
    """Return the entry of a pod that does not answer; its report takes the place once there is one."""
    moment = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    attempt = Attempt(id=uid, start_time=moment, end_time=moment, energy_joules=Energy(), reason=LOST)
    return _Pod(attempt, _no_counters(uid))


def _folded(restarted: Sequence[_Pod], gone: Sequence[_Pod]) -> tuple[_Pod, ...]:
    """Return the newest pods that are gone, and before them all others as one."""
    listed = sorted(
        (pod for pod in gone if pod.attempt.id != EARLIER), key=lambda pod: pod.attempt.start_time
    )
    overflow = max(0, len(listed) - KEPT_GONE)
    summed = [
        *(pod for pod in gone if pod.attempt.id == EARLIER),
        *restarted,
        *listed[:overflow],
    ]
    if not summed:
        return tuple(listed)
    earlier = summed_up([pod.attempt for pod in summed])
    return (_Pod(earlier, _sum(EARLIER, [pod.counters for pod in summed])), *listed[overflow:])


def _sum(uid: str, counters: Sequence[ServingCounters]) -> ServingCounters:
    return ServingCounters(
        id=uid,
        idle_joules=sum(one.idle_joules for one in counters),
        generated_tokens=sum(one.generated_tokens for one in counters),
        prompt_tokens=sum(one.prompt_tokens for one in counters),
        state=merged_state([one.state for one in counters]),
    )


def _total(
    previous: ServingCarbon | None, rest: Sequence[_Pod], reports: Sequence[ServeReport]
) -> EmissionsRecord:
    told = [_spanning(report.emissions) for report in reports]
    if previous is None:
        return merge_records(told)
    attempts = [attempt for record in told for attempt in record.attempts]
    records, earlier = told, previous.total
    if rest or not told:
        # What the reports do not tell of, with the earlier total's methods and coverage.
        kept = {
            "attempts": tuple(pod.attempt for pod in rest),
            "energy_joules": sum((pod.attempt.energy_joules for pod in rest), start=Energy()),
            "duration_seconds": sum(run_seconds([pod.attempt]) for pod in rest),
            # Not the earlier total's: that may have been Partial for want of a zone or of a report that came late.
            "state": merged_state([pod.counters.state for pod in rest]) if rest else earlier.state,
        }
        records = [earlier.model_copy(update=kept), *told]
    # Counted on from the earlier total, as what was summed up no longer tells when nothing ran.
    more = run_seconds([*earlier.attempts, *attempts]) - run_seconds(earlier.attempts)
    return merge_records(records).model_copy(update={"duration_seconds": earlier.duration_seconds + more})


def _spanning(record: EmissionsRecord) -> EmissionsRecord:
    """Return the record over the pod's whole time: between two containers of it nothing was metered."""
    span = run_seconds(record.attempts)
    covered = record.coverage_percent * min(record.duration_seconds, span)
    return record.model_copy(
        update={
            "duration_seconds": span,
            "coverage_percent": covered // span if span else record.coverage_percent,
        }
    )


def _summed(total: EmissionsRecord, counters: Sequence[ServingCounters]) -> ServingCarbon:
    whole = _sum("", counters)
    return ServingCarbon(
        total=total,
        idle_joules=whole.idle_joules,
        generated_tokens=whole.generated_tokens,
        prompt_tokens=whole.prompt_tokens,
        milligrams_per_1000_tokens=_per_1000_tokens(total, whole),
        pods=tuple(counters),
    )


def _per_1000_tokens(total: EmissionsRecord, counters: ServingCounters) -> str | None:
    """Return milligrams of CO2 equivalent for 1,000 generated tokens, without the energy of idle time."""
    if total.intensity is None or counters.generated_tokens == 0:
        return None
    active = max(0, total.energy_joules.total - counters.idle_joules)
    # The arithmetic rounds to whole milligrams, which is too coarse for one request: scale before, divide after.
    micrograms = emissions_milligrams(
        active * 1000, pue_milli=total.pue_milli, milligrams_per_kwh=total.intensity.milligrams_per_kwh
    )
    return f"{(Decimal(micrograms) / counters.generated_tokens).quantize(Decimal('0.001'))}"
