"""Classes of ends of a training pod: the reason that people are told, and what the end counts as. Pure.

`docs/failures.md` is this table for people. The Job itself goes by exit codes and the condition DisruptionTarget
(`manifests`), which say the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from modelgarden.api.emissions import LOST
from modelgarden.api.finetunejob import AttemptStatus
from modelgarden.api.names import EXIT_USER_ERROR
from modelgarden.workloads.endings import TERMINATED, Ending
from modelgarden.workloads.groups import PEER_LOST

Counts = Literal["Final", "Failure", "Interruption", "Nothing"]
"""Final: no other attempt follows. Failure: one of backoffLimit. Interruption: one of interruptionLimit, unless a newer
checkpoint was made. Nothing: as often as it takes."""


@dataclass(frozen=True)
class EndClass:
    """What an end means."""

    reason: str
    """Of the closed list, for the condition Running until the next attempt runs."""
    counts: Counts


PREEMPTED: Final = EndClass("Preempted", "Interruption")
EVICTED: Final = EndClass("Evicted", "Interruption")
NODE_LOST: Final = EndClass("NodeLost", "Interruption")
QUEUED_AGAIN: Final = EndClass("Preempted", "Nothing")
"""A queue took the place back: the Job was suspended by another than this operator."""
STOPPED: Final = EndClass("Retrying", "Nothing")
CRASHED: Final = EndClass("Retrying", "Failure")

_BY_REASON: Final[dict[str, EndClass]] = {
    # Of the condition DisruptionTarget.
    "PreemptionByScheduler": PREEMPTED,
    "EvictionByEvictionAPI": EVICTED,  # a drain, or a spot node that is about to go
    "TerminationByKubelet": EVICTED,  # the node shuts down, or lacks memory or disk
    "DeletionByTaintManager": NODE_LOST,
    "DeletionByPodGC": NODE_LOST,
    # What operator and trainer say.
    LOST: NODE_LOST,
    "Preempted": QUEUED_AGAIN,
    TERMINATED: STOPPED,
    "Suspended": STOPPED,
    "StorageUnavailable": STOPPED,
    "OutOfMemory": EndClass("OutOfMemory", "Failure"),
    "Stalled": EndClass("Stalled", "Failure"),
    "PeersMissing": EndClass("PeersMissing", "Failure"),
    PEER_LOST: EndClass(PEER_LOST, "Interruption"),  # of a pod that left no word, as where its node is lost
    # Of a pod whose container left nothing. Without DisruptionTarget the Job counts them.
    "Evicted": EndClass("Evicted", "Failure"),
    "NodeLost": EndClass("NodeLost", "Failure"),
}


def class_of(ending: Ending, *, queued_again: bool = False) -> EndClass:
    """Return what the end of a training pod means; `queued_again`: a queue has suspended its Job."""
    if ending.exit_code == EXIT_USER_ERROR:
        return EndClass(ending.reason, "Final")
    found = _BY_REASON.get(ending.reason, EVICTED if ending.disrupted else CRASHED)
    return QUEUED_AGAIN if queued_again and found is STOPPED else found


def interruptions_in_vain(attempts: Iterable[AttemptStatus]) -> int:
    """Return how many of the newest attempts were interrupted in a row without a newer checkpoint.

    Other ends among them neither count nor start the count anew: only a checkpoint is a step forward.
    """
    newest = count = 0
    for attempt in attempts:
        if (attempt.checkpoint_step or 0) > newest:
            newest, count = attempt.checkpoint_step or 0, 0
        elif attempt.end_time is not None and _interrupted(attempt):
            count += 1
    return count


def failures(attempts: Iterable[AttemptStatus]) -> int:
    """Return how many of the attempts ended in a way that backoffLimit counts, where the Job does not count them."""
    return sum(one.end_time is not None and class_of_attempt(one).counts == "Failure" for one in attempts)


def class_of_attempt(attempt: AttemptStatus) -> EndClass:
    """Return what the end of an attempt means by its reason alone."""
    return _BY_REASON.get(attempt.reason or "", CRASHED)


def _interrupted(attempt: AttemptStatus) -> bool:
    return class_of_attempt(attempt).counts == "Interruption"
