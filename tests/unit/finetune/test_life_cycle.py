"""Suspension, deadlines, time to live, changed limits, and the end that stays the end."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden.api.conditions import Condition, Problem
from modelgarden.api.finetunejob import AttemptStatus
from modelgarden.controller.plan import Plan
from modelgarden.controller.view import View
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.plan import plan as plan_for
from modelgarden.finetune.plan import unreadable
from modelgarden.kube.resources import FINETUNEJOBS, JOBS
from tests.unit.builders import (
    FINGERPRINT,
    NOW,
    SETTINGS,
    JobBuilder,
    condition,
    ended_pod,
    make_emissions,
    make_registration,
    make_subject,
    ready,
    running_pod,
    stamp,
    with_status,
)
from tests.unit.finetune.plans import conditions_of, names_of, phase_of, plan_of

QUEUED = {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}
SUSPENDED = condition("Suspended", "True", "Suspended", seconds_ago=100)
RESUMED = condition("Suspended", "False", "Resumed", seconds_ago=100)


def suspends_of(plan: Plan) -> list[Any]:
    return [one["spec"].get("suspend") for one in plan.objects]


def test_a_job_that_is_created_suspended_is_checked_but_starts_nothing() -> None:
    plan = plan_of(make_subject(suspend=True), inputs=FINGERPRINT)

    assert plan.objects == ()
    assert conditions_of(plan)["Accepted"]["status"] == "True"
    assert conditions_of(plan)["Suspended"]["status"] == "True"
    assert phase_of(plan) == "Suspended"


@pytest.mark.parametrize("step", ["prepare", "train"])
def test_suspending_stops_the_running_job(step: Any) -> None:
    subject = make_subject(suspend=True, conditions=ready() if step == "train" else ())
    job = JobBuilder(subject, step).with_pod(running_pod(step))

    plan = plan_of(subject, **{step: job.state()})

    assert names_of(plan) == [f"bot-{step}"]
    assert suspends_of(plan) == [True]
    assert phase_of(plan) == "Suspended"


def test_a_suspended_job_is_not_written_again() -> None:
    subject = make_subject(suspend=True, conditions=ready(SUSPENDED))

    plan = plan_of(subject, train=JobBuilder(subject, "train").suspended().state())

    assert plan.objects == ()
    assert conditions_of(plan)["Running"]["reason"] == "Suspended"


def test_a_suspended_train_job_is_sent_back_as_it_is_but_for_suspend() -> None:
    subject = make_subject(suspend=True, conditions=ready())
    job = JobBuilder(subject, "train").with_pod(running_pod("train"))
    job.body["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/train:older"

    (sent,) = plan_of(subject, train=job.state()).objects

    assert sent["spec"] == {**job.body["spec"], "suspend": True}
    assert sent["metadata"]["resourceVersion"] == "7"
    assert "status" not in sent


def test_resuming_starts_the_job_again() -> None:
    subject = make_subject(conditions=ready(SUSPENDED))

    plan = plan_of(subject, train=JobBuilder(subject, "train").suspended().state())

    assert suspends_of(plan) == [False]
    assert (conditions_of(plan)["Suspended"]["status"], conditions_of(plan)["Suspended"]["reason"]) == (
        "False",
        "Resumed",
    )
    assert phase_of(plan) == "Training"


def test_a_job_that_somebody_else_suspended_is_left_alone() -> None:
    subject = make_subject(conditions=ready(RESUMED))

    plan = plan_of(subject, train=JobBuilder(subject, "train").suspended().state())

    assert plan.objects == ()
    assert conditions_of(plan)["Running"]["reason"] == "Pending"


@pytest.mark.parametrize("conditions", [(), (RESUMED,)], ids=["never told", "told of an earlier time"])
def test_a_job_that_was_suspended_just_before_the_resumption_runs_again(
    conditions: tuple[Condition, ...],
) -> None:
    """The Job is written before the status, which the user's resumption overtook."""
    suspending = make_subject(suspend=True, conditions=ready(*conditions))
    job = JobBuilder(suspending, "train")
    (written,) = plan_of(suspending, train=job.state()).objects
    job.body["spec"], job.body["metadata"]["annotations"] = (
        written["spec"],
        written["metadata"]["annotations"],
    )

    plan = plan_of(make_subject(conditions=ready(*conditions)), train=job.state())

    assert suspends_of(plan) == [False]
    assert "modelgarden.dev/suspended" not in plan.objects[0]["metadata"]["annotations"]


def test_suspending_a_queued_job_gives_its_quota_back() -> None:
    subject = make_subject(suspend=True, podTemplate=QUEUED, conditions=ready())
    job = JobBuilder(subject, "train").with_pod(running_pod("train"))

    plan = plan_of(subject, train=job.state())

    assert plan.deletes == ((JOBS, "bot-train"),)
    assert plan.objects == ()


def test_suspending_a_job_that_got_its_queue_from_the_namespace_gives_its_quota_back() -> None:
    subject = make_subject(suspend=True, conditions=ready())
    job = JobBuilder(subject, "train").with_pod(running_pod("train")).in_queue("default")

    plan = plan_of(subject, train=job.state())

    assert plan.deletes == ((JOBS, "bot-train"),)
    assert plan.objects == ()


def test_resuming_starts_no_job_of_a_queue() -> None:
    subject = make_subject(conditions=ready(SUSPENDED))

    plan = plan_of(subject, train=JobBuilder(subject, "train").in_queue("default").suspended().state())

    assert plan.objects == ()
    assert conditions_of(plan)["Running"]["reason"] == "Queued"
    assert phase_of(plan) == "Pending"


def test_resuming_a_queued_job_queues_it_anew_without_deciding_for_the_queue() -> None:
    subject = make_subject(podTemplate=QUEUED, conditions=ready(SUSPENDED))

    plan = plan_of(subject)

    assert names_of(plan) == ["bot-train"]
    assert suspends_of(plan) == [None]


def test_a_training_that_ended_is_registered_even_while_suspended() -> None:
    subject = make_subject(suspend=True, conditions=ready())
    job = JobBuilder(subject, "train").complete().with_pod(ended_pod("train", 0))

    plan = plan_of(subject, train=job.state(), registration=make_registration(subject))

    assert phase_of(plan) == "Complete"


def test_a_changed_backoff_limit_reaches_the_running_job() -> None:
    before = make_subject(conditions=ready())
    job = JobBuilder(before, "train").with_pod(running_pod("train"))

    (sent,) = plan_of(make_subject(backoffLimit=9, conditions=ready()), train=job.state()).objects

    assert sent["spec"] == {**job.body["spec"], "backoffLimit": 9}


@pytest.mark.parametrize(
    ("started", "conditions", "suspend", "want_failed"),
    [
        pytest.param(99, (), False, False, id="not before the deadline"),
        pytest.param(100, (), False, True, id="at the deadline"),
        pytest.param(500, (SUSPENDED,), True, False, id="not while suspended"),
        pytest.param(500, (SUSPENDED,), False, False, id="not at the moment of resumption"),
        pytest.param(500, (condition("Suspended", "False", "Resumed", seconds_ago=20),), False, False,
                     id="the clock starts anew on resumption"),
        pytest.param(500, (RESUMED,), False, True, id="at the deadline after resumption"),
    ],
)  # fmt: skip
def test_the_deadline(
    started: float, conditions: tuple[Condition, ...], suspend: bool, want_failed: bool
) -> None:
    subject = with_status(
        make_subject(activeDeadlineSeconds=100, suspend=suspend, conditions=ready(*conditions)),
        start_time=stamp(started),
    )
    job = JobBuilder(subject, "train").with_pod(running_pod("train"))

    plan = plan_of(subject, train=job.state())

    assert (phase_of(plan) == "Failed") == want_failed
    assert plan.deletes == (((JOBS, "bot-train"),) if want_failed else ())
    if want_failed:
        assert conditions_of(plan)["Failed"]["reason"] == "DeadlineExceeded"


def test_the_deadline_ends_attempts_and_their_energy() -> None:
    subject = with_status(
        make_subject(activeDeadlineSeconds=100, conditions=ready()),
        start_time=stamp(101),
        carbon=make_emissions(),
    )
    job = JobBuilder(subject, "train").with_pod(running_pod("train"))

    status = plan_of(subject, train=job.state()).status

    assert status is not None
    assert [(one["reason"], one["endTime"]) for one in status["attempts"]] == [("DeadlineExceeded", stamp())]
    assert [one["reason"] for one in status["carbon"]["attempts"]] == ["Terminated"]


def test_the_deadline_ends_an_attempt_whose_pod_and_job_are_gone() -> None:
    subject = with_status(
        make_subject(activeDeadlineSeconds=100, conditions=ready()),
        start_time=stamp(101),
        attempts=(AttemptStatus(pod="gone", start_time=stamp(60)),),
    )

    status = plan_of(subject).status

    assert status is not None
    assert status["attempts"] == [
        {"pod": "gone", "startTime": stamp(60), "endTime": stamp(), "reason": "Lost"}
    ]


def test_the_deadline_of_a_new_job_begins_with_its_acceptance() -> None:
    plan = plan_of(make_subject(activeDeadlineSeconds=100), inputs=FINGERPRINT)

    assert names_of(plan) == ["bot-prepare"]
    assert plan.status is not None
    assert plan.status["startTime"] == stamp()


@pytest.mark.parametrize("started", [100, 500], ids=["at the deadline", "long after it"])
def test_an_artifact_is_registered_after_the_deadline_too(started: float) -> None:
    subject = with_status(
        make_subject(activeDeadlineSeconds=100, conditions=ready()), start_time=stamp(started)
    )
    job = JobBuilder(subject, "train").complete().with_pod(ended_pod("train", 0))

    waiting = plan_of(subject, train=job.state(), registration=Problem("StorageUnavailable", "Away."))
    done = plan_of(subject, train=job.state(), registration=make_registration(subject))

    assert phase_of(waiting) == "Registering"
    assert waiting.requeue_after == 10
    assert phase_of(done) == "Complete"


def test_a_training_that_failed_is_told_with_its_own_reason_after_the_deadline() -> None:
    subject = with_status(make_subject(activeDeadlineSeconds=100, conditions=ready()), start_time=stamp(500))
    job = JobBuilder(subject, "train").with_pod(ended_pod("train", 1)).failed()

    assert conditions_of(plan_of(subject, train=job.state()))["Failed"]["reason"] == "BackoffLimitExceeded"


def test_resuming_wakes_the_operator_at_the_new_deadline() -> None:
    subject = with_status(
        make_subject(activeDeadlineSeconds=100, conditions=ready(SUSPENDED)), start_time=stamp(500)
    )

    plan = plan_of(subject, train=JobBuilder(subject, "train").suspended().state())

    assert plan.requeue_after == 100


def test_the_end_wakes_the_operator_at_the_time_to_live() -> None:
    subject = make_subject(ttlSecondsAfterFinished=60, conditions=ready())
    job = JobBuilder(subject, "train").complete().with_pod(ended_pod("train", 0))

    plan = plan_of(subject, train=job.state(), registration=make_registration(subject))

    assert phase_of(plan) == "Complete"
    assert plan.requeue_after == 60


@pytest.mark.parametrize("left", [4, 1])
def test_the_deadline_wakes_the_operator(left: int) -> None:
    subject = with_status(
        make_subject(activeDeadlineSeconds=100, conditions=ready()), start_time=stamp(100 - left)
    )

    plan = plan_of(subject, train=JobBuilder(subject, "train").state())

    assert plan.requeue_after == left


def test_a_time_to_live_means_nothing_before_the_end() -> None:
    subject = make_subject(ttlSecondsAfterFinished=1, conditions=ready())
    job = JobBuilder(subject, "train").with_pod(running_pod("train"))

    assert plan_of(subject, train=job.state()).requeue_after == 10


@pytest.mark.parametrize("end", ["Complete", "Failed"])
def test_the_end_stays_the_end(end: str) -> None:
    over = condition(end, "True", "Succeeded" if end == "Complete" else "TrainingFailed")
    subject = with_status(make_subject(conditions=ready(over)), completion_time=stamp(60))

    plan = plan_for(View(subject, Observation(), SETTINGS, NOW))

    assert (plan.objects, plan.deletes, plan.requeue_after) == ((), (), None)
    assert phase_of(plan) == end


def test_an_end_of_which_the_time_was_never_written_is_kept() -> None:
    over = condition("Complete", "True", "Succeeded")
    subject = make_subject(ttlSecondsAfterFinished=60, conditions=ready(over))

    plan = plan_for(View(subject, Observation(), SETTINGS, NOW))

    assert plan.deletes == ()
    assert phase_of(plan) == "Complete"


@pytest.mark.parametrize(
    ("ended", "want_deleted", "want_wait"),
    [(30, False, 30), (59, False, 1), (60, True, None), (600, True, None)],
    ids=[
        "waits for its time",
        "waits to the last",
        "is deleted at its time",
        "is deleted when its time was missed",
    ],
)
def test_a_finished_job_with_a_time_to_live(
    ended: float, want_deleted: bool, want_wait: float | None
) -> None:
    over = condition("Complete", "True", "Succeeded")
    subject = with_status(
        make_subject(ttlSecondsAfterFinished=60, conditions=ready(over)), completion_time=stamp(ended)
    )

    plan = plan_for(View(subject, Observation(), SETTINGS, NOW))

    assert plan.deletes == (((FINETUNEJOBS, "bot"),) if want_deleted else ())
    assert plan.requeue_after == want_wait
    assert (plan.status is None) == want_deleted


def test_a_spec_that_cannot_be_read_changes_nothing_but_the_status() -> None:
    subject = make_subject(conditions=ready())

    plan = unreadable(subject.status, generation=2, message="spec.method: Input should be 'LoRA'.", now=NOW)

    assert (plan.objects, plan.deletes) == ((), ())
    assert conditions_of(plan)["Accepted"]["reason"] == "InvalidSpec"
    assert conditions_of(plan)["DatasetReady"]["observedGeneration"] == 2
    assert plan.status is not None
    assert plan.status["observedGeneration"] == 2
    assert phase_of(plan) == "Blocked"
