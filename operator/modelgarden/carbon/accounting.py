"""A run's emissions as its pods report them one after the other: what one of them counted is never lost again.

The identities of modelgarden.api.emissions hold in every result.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from modelgarden.api.emissions import MOST_ATTEMPTS, Attempt, EmissionsRecord, Energy, emissions_of

EARLIER: Final = "earlier"
"""Id of the one attempt into which the oldest are summed where there are more than a record lists."""


def continued(known: EmissionsRecord | None, reported: EmissionsRecord) -> EmissionsRecord:
    """Return a run's newest record without losing what an earlier one already counted.

    `reported` covers all attempts that its pod knows of. An attempt that was lost before it could leave its last
    figures is kept as it was last seen; one that says it is Completed is taken as it says.
    """
    if known is None:
        return reported
    if any(attempt.id == EARLIER for attempt in known.attempts):
        return reported if reported.energy_joules.total >= known.energy_joules.total else known
    attempts = {attempt.id: attempt for attempt in reported.attempts}
    if all(
        attempt.id in attempts and not _reported_more(attempts[attempt.id], attempt)
        for attempt in known.attempts
    ):
        return reported
    energy, seconds = reported.energy_joules, reported.duration_seconds
    for seen in known.attempts:
        told = attempts.get(seen.id)
        if told is None:
            ended = "Lost" if seen.reason == "Running" else seen.reason
            attempts[seen.id] = seen.model_copy(update={"reason": ended})
            energy += seen.energy_joules
            seconds += _seconds(seen)
        elif _reported_more(told, seen):
            attempts[seen.id] = seen.model_copy(update={"reason": told.reason})
            energy = _exchanged(energy, without=told.energy_joules, plus=seen.energy_joules)
            seconds += max(0, _seconds(seen) - _seconds(told))
    return reported.model_copy(
        update={
            "energy_joules": energy,
            "emissions_milligrams": emissions_of(
                energy, pue_milli=reported.pue_milli, intensity=reported.intensity
            ),
            "duration_seconds": seconds,
            "attempts": folded(list(attempts.values()), most=MOST_ATTEMPTS),
        }
    )


def _reported_more(told: Attempt, seen: Attempt) -> bool:
    """Tell whether an attempt that did not come to its end had counted more than its last record says."""
    return told.reason != "Completed" and told.energy_joules.total < seen.energy_joules.total


def folded(attempts: Sequence[Attempt], *, most: int) -> tuple[Attempt, ...]:
    """Return the attempts oldest first; of more than `most` of them the oldest are summed up as one."""
    ordered = sorted(attempts, key=lambda attempt: attempt.start_time)
    if len(ordered) <= most:
        return tuple(ordered)
    old, kept = ordered[: len(ordered) - most + 1], ordered[len(ordered) - most + 1 :]
    summed = Attempt(
        id=EARLIER,
        start_time=old[0].start_time,
        end_time=max(attempt.end_time for attempt in old),
        energy_joules=sum((attempt.energy_joules for attempt in old), start=Energy()),
        reason=old[-1].reason,
    )
    return (summed, *kept)


def _exchanged(energy: Energy, *, without: Energy, plus: Energy) -> Energy:
    return Energy.of(
        gpu=max(0, energy.gpu - without.gpu + plus.gpu),
        cpu=max(0, energy.cpu - without.cpu + plus.cpu),
        ram=max(0, energy.ram - without.ram + plus.ram),
    )


def _seconds(attempt: Attempt) -> int:
    start = datetime.fromisoformat(attempt.start_time)
    end = datetime.fromisoformat(attempt.end_time)
    return max(0, round((end - start).total_seconds()))
