"""The status as it is written: the phase that sums the conditions up, and the size that it may have. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from modelgarden.api.conditions import (
    ACCEPTED,
    ARTIFACT_REGISTERED,
    COMPLETE,
    DATASET_READY,
    FAILED,
    PUBLISHED,
    RUNNING,
    SUSPENDED,
    Condition,
)
from modelgarden.api.emissions import folded
from modelgarden.api.finetunejob import AttemptStatus, FineTuneJobStatus, Phase
from modelgarden.api.messages import clean
from modelgarden.controller.results import AWAITED

ORDER: Final = (ACCEPTED, DATASET_READY, RUNNING, ARTIFACT_REGISTERED, SUSPENDED, COMPLETE, FAILED, PUBLISHED)

LARGEST_STATUS_BYTES: Final = 30 * 1024
"""Below the 32 KiB that a status may have, with room for what the API server adds."""
_WAITING_FOR_PREPARE: Final = frozenset(
    {
        "Preparing",
        "Retrying",
        "Unschedulable",
        "ImagePullFailed",
        "StartFailed",
        "Pending",
        "Queued",
        "Suspended",
    }
)
_TRAINING_PHASES: Final[Mapping[str, Phase]] = {
    # Somebody or something has to make room for the training pod.
    "ApplyRejected": "Pending",
    "ImagePullFailed": "Pending",
    "Queued": "Pending",
    "StartFailed": "Pending",
    "Unschedulable": "Pending",
    "DoesNotFit": "Blocked",
    "TrainingFinished": "Registering",
}
"""By the reason of Running, where it is not Training."""


def phase_of(found: Iterable[Condition]) -> Phase:
    """Return the summary for people."""
    by_type = {one.type: one for one in found}

    def is_true(kind: str) -> bool:
        return kind in by_type and by_type[kind].status == "True"

    if is_true(FAILED):
        return "Failed"
    if is_true(COMPLETE):
        return "Complete"
    if is_true(SUSPENDED):
        return "Suspended"
    if ACCEPTED not in by_type:
        return "Pending"
    if not is_true(ACCEPTED):
        return "Pending" if by_type[ACCEPTED].reason in AWAITED else "Blocked"
    if is_true(DATASET_READY):
        return _TRAINING_PHASES.get(by_type[RUNNING].reason if RUNNING in by_type else "", "Training")
    if DATASET_READY in by_type and by_type[DATASET_READY].reason not in _WAITING_FOR_PREPARE:
        return "Blocked"
    return "Preparing"


def written(status: FineTuneJobStatus) -> dict[str, Any]:
    """Return the status as it is written, less of its detail where it would be too large."""
    for reduce_to in _REDUCTIONS:
        form = reduce_to(status).to_dict()
        if len(json.dumps(form, ensure_ascii=False).encode()) <= LARGEST_STATUS_BYTES:
            return form
    return form


def _whole(status: FineTuneJobStatus) -> FineTuneJobStatus:
    return status


def _fewer_details(status: FineTuneJobStatus) -> FineTuneJobStatus:
    return status.model_copy(
        update={
            "attempts": tuple(_shortened(one, length=200) for one in status.attempts),
            "carbon": _fold(status, most=24),
        }
    )


def _essentials(status: FineTuneJobStatus) -> FineTuneJobStatus:
    resolved = status.resolved
    return status.model_copy(
        update={
            "attempts": tuple(_shortened(one, length=100) for one in status.attempts[-8:]),
            "carbon": _fold(status, most=4),
            "resolved": resolved and resolved.model_copy(update={"hyperparameters": {}}),
            "conditions": tuple(
                one.model_copy(update={"message": clean(one.message, length=512)})
                for one in status.conditions
            ),
        }
    )


_REDUCTIONS: Final[tuple[Callable[[FineTuneJobStatus], FineTuneJobStatus], ...]] = (
    _whole,
    _fewer_details,
    _essentials,
)


def _shortened(attempt: AttemptStatus, *, length: int) -> AttemptStatus:
    return attempt.model_copy(update={"message": attempt.message and clean(attempt.message, length=length)})


def _fold(status: FineTuneJobStatus, *, most: int) -> Any:
    carbon = status.carbon
    if carbon is None:
        return None
    return carbon.model_copy(
        update={"attempts": folded(carbon.attempts, most=most), "devices": carbon.devices[:16]}
    )
