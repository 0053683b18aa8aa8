"""The attempts as the status lists them, from what their pods show and what was known before."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden.api.finetunejob import AttemptStatus
from modelgarden.finetune.attempts import attempts_after, cut_short
from modelgarden.finetune.programs import TRAIN
from modelgarden.workloads.groups import PodGroup
from modelgarden.workloads.pods import pod_state
from tests.unit.builders import (
    NOW,
    JobBuilder,
    condition,
    ended_pod,
    make_pod,
    make_subject,
    running_pod,
    stamp,
    with_status,
)


def group(*pods: dict[str, Any]) -> PodGroup:
    return PodGroup(tuple(pod_state(pod, TRAIN) for pod in pods))


def test_an_attempt_ends_with_its_pod() -> None:
    (attempt,) = attempts_after(make_subject(), [group(ended_pod("train", 1))], NOW, strays=())

    assert (attempt.start_time, attempt.end_time) == (stamp(60), stamp(5))


def test_an_attempt_of_which_one_rank_ended_well_still_runs() -> None:
    ranks = group(running_pod("train", name="rank-0"), ended_pod("train", 0, name="rank-1"))

    (attempt,) = attempts_after(make_subject(), [ranks], NOW, strays=())

    assert (attempt.pod, attempt.end_time, attempt.reason, attempt.message) == ("rank-0", None, None, None)


def test_a_pod_that_has_not_started_is_no_attempt() -> None:
    assert attempts_after(make_subject(), [group(make_pod("train"))], NOW, strays=()) == ()


def test_a_pod_that_was_refused_before_it_started_is_one() -> None:
    refused = make_pod("train", phase="Failed", reason="UnexpectedAdmissionError", message="no GPU is left")

    (attempt,) = attempts_after(make_subject(), [group(refused)], NOW, strays=())

    assert (attempt.start_time, attempt.reason, attempt.message) == (
        None,
        "UnexpectedAdmissionError",
        "no GPU is left",
    )


@pytest.mark.parametrize(
    ("suspend", "reason", "want"),
    [
        (False, None, "Lost"),
        (True, None, "Suspended"),
        (True, "PreemptionByScheduler", "PreemptionByScheduler"),
    ],
    ids=["nobody knows why", "suspension ended it", "it was being preempted"],
)
def test_an_attempt_whose_pod_is_gone_has_ended(suspend: bool, reason: str | None, want: str) -> None:
    known = AttemptStatus(pod="gone", start_time=stamp(60), reason=reason)
    subject = with_status(make_subject(suspend=suspend), attempts=(known,))

    (attempt,) = attempts_after(subject, [], NOW, strays=())

    assert (attempt.reason, attempt.end_time) == (want, stamp())


def test_an_attempt_that_a_suspension_ended_is_no_interruption_where_it_is_resumed_before_that_is_seen() -> (
    None
):
    known = AttemptStatus(pod="gone", start_time=stamp(60))
    was = condition("Suspended", "True", "Suspended")
    subject = with_status(make_subject(), attempts=(known,), conditions=(was,))

    (attempt,) = attempts_after(subject, [], NOW, strays=())

    assert attempt.reason == "Suspended"


@pytest.mark.parametrize(
    ("suspended", "resumed_ago", "want"),
    [
        (True, None, "Preempted"),
        (True, 70, "Preempted"),
        (False, 20, "Preempted"),
        (False, 70, "Lost"),
        (False, 60, "Lost"),
        (False, None, "Lost"),
    ],
    ids=[
        "suspended",
        "suspended again",
        "suspended and resumed since",
        "admitted before it started",
        "admitted as it started",
        "never suspended",
    ],
)
def test_an_attempt_whose_pod_went_as_a_queue_took_the_place_back_was_preempted(
    suspended: bool, resumed_ago: int | None, want: str
) -> None:
    known = AttemptStatus(pod="gone", start_time=stamp(60))
    subject = with_status(make_subject(), attempts=(known,))
    builder = JobBuilder(subject, "train").in_queue("gpus")
    if resumed_ago is not None:
        builder = builder.resumed(resumed_ago)
    job = builder.suspended() if suspended else builder

    (attempt,) = attempts_after(subject, [], NOW, strays=(), job=job.state())

    assert attempt.reason == want


def test_an_attempt_whose_job_somebody_resumed_since_was_preempted_by_no_queue() -> None:
    known = AttemptStatus(pod="gone", start_time=stamp(60))
    subject = with_status(make_subject(), attempts=(known,))
    job = JobBuilder(subject, "train").resumed(20).state()

    (attempt,) = attempts_after(subject, [], NOW, strays=(), job=job)

    assert attempt.reason == "Lost"


def test_an_attempt_whose_pod_was_stopped_as_a_queue_took_the_place_back_was_preempted() -> None:
    subject = make_subject()
    job = JobBuilder(subject, "train").with_pod(ended_pod("train", 143)).suspended().state()

    (attempt,) = attempts_after(subject, job.attempts, NOW, strays=(), job=job)

    assert attempt.reason == "Preempted"


def test_an_attempt_that_somebody_stopped_before_a_queue_took_the_place_back_stays_what_it_was() -> None:
    known = AttemptStatus(pod="bot-pod-1", start_time=stamp(60), end_time=stamp(5), reason="Terminated")
    subject = with_status(make_subject(), attempts=(known,))
    job = JobBuilder(subject, "train").with_pod(ended_pod("train", 143)).suspended().state()

    (attempt,) = attempts_after(subject, job.attempts, NOW, strays=(), job=job)

    assert attempt.reason == "Terminated"


def test_an_attempt_whose_pod_outlives_its_job_has_not_ended() -> None:
    known = AttemptStatus(pod="stray", start_time=stamp(60))

    assert attempts_after(with_status(make_subject(), attempts=(known,)), [], NOW, strays=("stray",)) == (
        known,
    )


def test_attempts_are_in_the_order_of_their_start_or_else_their_end() -> None:
    never_started = AttemptStatus(pod="b", end_time=stamp(50), reason="Lost")
    late = AttemptStatus(pod="a", start_time=stamp(40), end_time=stamp(30), reason="Lost")
    early = AttemptStatus(pod="c", start_time=stamp(60), end_time=stamp(55), reason="Lost")
    subject = with_status(make_subject(), attempts=(late, never_started, early))

    assert attempts_after(subject, [], NOW, strays=()) == (early, never_started, late)


def test_cutting_short_ends_what_still_runs_and_nothing_else() -> None:
    over = AttemptStatus(pod="a", start_time=stamp(60), end_time=stamp(50), reason="OutOfMemory")
    running = AttemptStatus(pod="b", start_time=stamp(40))

    assert cut_short((over, running), reason="DeadlineExceeded", now=NOW) == (
        over,
        running.model_copy(update={"end_time": stamp(), "reason": "DeadlineExceeded"}),
    )
