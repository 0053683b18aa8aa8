"""A run's emissions as its pods report them one after the other: what one of them counted is never lost again.

The identities of modelgarden.api.emissions hold in every result.
"""

from __future__ import annotations

from modelgarden.api.emissions import (
    EARLIER,
    LOST,
    Attempt,
    EmissionsRecord,
    Energy,
    emissions_of,
    folded,
    run_seconds,
)


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
    energy = reported.energy_joules
    for seen in known.attempts:
        told = attempts.get(seen.id)
        if told is None:
            ended = LOST if seen.reason == "Running" else seen.reason
            attempts[seen.id] = seen.model_copy(update={"reason": ended})
            energy += seen.energy_joules
        elif _reported_more(told, seen):
            attempts[seen.id] = seen.model_copy(update={"reason": told.reason})
            energy = _exchanged(energy, without=told.energy_joules, plus=seen.energy_joules)
    unseen = run_seconds(list(attempts.values())) - run_seconds(reported.attempts)
    return reported.model_copy(
        update={
            "energy_joules": energy,
            "emissions_milligrams": emissions_of(
                energy, pue_milli=reported.pue_milli, intensity=reported.intensity
            ),
            "duration_seconds": reported.duration_seconds + max(0, unseen),
            "attempts": folded(list(attempts.values())),
        }
    )


def _reported_more(told: Attempt, seen: Attempt) -> bool:
    """Tell whether an attempt that did not come to its end had counted more than its last record says."""
    return told.reason != "Completed" and told.energy_joules.total < seen.energy_joules.total


def _exchanged(energy: Energy, *, without: Energy, plus: Energy) -> Energy:
    return Energy.of(
        gpu=max(0, energy.gpu - without.gpu + plus.gpu),
        cpu=max(0, energy.cpu - without.cpu + plus.cpu),
        ram=max(0, energy.ram - without.ram + plus.ram),
    )
