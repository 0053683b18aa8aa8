"""A training on several nodes: its pods start together, and what follows the end of an attempt, whose Job ends with it."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden.api.finetunejob import AttemptStatus
from modelgarden.api.pods import GROUP_PATIENCE_SECONDS, TerminationMessage
from modelgarden.controller.plan import Plan
from modelgarden.finetune.subject import Subject
from modelgarden.workloads.jobs import JobState
from tests.unit.builders import (
    JobBuilder,
    disruption,
    ended_pod,
    make_pod,
    make_subject,
    ready,
    running_pod,
    stamp,
    unschedulable_pod,
    with_status,
    written_status,
)
from tests.unit.finetune.plans import conditions_of, names_of, phase_of, plan_of

PEER_LOST = TerminationMessage(reason="PeerLost", message="Pod bot-train-1 has ended.")
CRASH: dict[str, Any] = {"message": "KeyError: 'x'"}


def on_two_nodes(*attempts: AttemptStatus, **spec: Any) -> Subject:
    resources = {"gpus": 1, "nodes": 2, "cpu": "1", "memory": "4Gi"}
    return with_status(make_subject(conditions=ready(), resources=resources, **spec), attempts=attempts)


def indexed(pod: dict[str, Any], index: int) -> dict[str, Any]:
    pod["metadata"]["annotations"] = {"batch.kubernetes.io/job-completion-index": str(index)}
    return pod


def job_of(subject: Subject, first: dict[str, Any], *others: dict[str, Any]) -> JobBuilder:
    builder = JobBuilder(subject, "train")
    for index, pod in enumerate((first, *others)):
        builder.with_pod(indexed(pod, index))
    return builder


def failed(subject: Subject, exit_code: int = 1, *, seconds_ago: float = 1, **end: Any) -> JobState:
    """Return a Job whose second pod ended, and the first for its sake."""
    first = ended_pod("train", 1, message=PEER_LOST, name="bot-train-0-now")
    second = ended_pod("train", exit_code, name="bot-train-1-now", **end)
    return job_of(subject, first, second).failed("PodFailurePolicy", seconds_ago=seconds_ago).state()


def ended(number: int, reason: str = "TrainingFailed", *, step: int | None = None) -> AttemptStatus:
    return AttemptStatus(
        pod=f"bot-train-0-{number}",
        start_time=stamp(9000 - number),
        end_time=stamp(8000 - number),
        reason=reason,
        message="It ended.",
        checkpoint_step=step,
    )


def listed(plan: Plan) -> list[tuple[str, str | None]]:
    assert plan.status is not None
    return [(one["pod"], one.get("reason")) for one in plan.status["attempts"]]


def test_a_training_starts_with_its_service_and_then_its_job() -> None:
    plan = plan_of(on_two_nodes())

    assert [one["kind"] for one in plan.objects] == ["Service", "Job"]
    assert names_of(plan) == ["bot-train", "bot-train"]


def test_the_service_is_wanted_as_long_as_pods_need_it() -> None:
    subject = on_two_nodes()
    pods = [running_pod("train", name=f"bot-train-{index}") for index in range(2)]

    plan = plan_of(subject, train=job_of(subject, *pods).state())

    assert [one["kind"] for one in plan.objects] == ["Service"]
    running = conditions_of(plan)["Running"]
    assert (running["status"], running["message"]) == ("True", "Pod bot-train-0 trains with 1 more.")


def test_a_pod_that_ends_is_one_attempt_with_its_words_and_the_next_one_waits_a_moment() -> None:
    subject = on_two_nodes()

    plan = plan_of(subject, train=failed(subject, **CRASH))

    running = conditions_of(plan)["Running"]
    assert (running["status"], running["reason"]) == ("False", "Retrying")
    assert "KeyError" in running["message"]
    assert running["message"].endswith("backoffLimit counts this end.")
    assert phase_of(plan) == "Training"
    assert [name for name, _ in listed(plan)] == ["bot-train-0-now"]
    assert (plan.deletes, plan.requeue_after) == ((), 9)


@pytest.mark.parametrize(
    ("failures", "seconds_ago", "gives_way"),
    [(0, 9, False), (0, 10, True), (1, 19, False), (1, 20, True), (9, 359, False), (9, 360, True)],
)
def test_the_job_gives_way_after_a_wait_that_doubles(
    failures: int, seconds_ago: float, gives_way: bool
) -> None:
    subject = on_two_nodes(*(ended(number) for number in range(failures)), backoffLimit=30)

    plan = plan_of(subject, train=failed(subject, seconds_ago=seconds_ago, **CRASH))

    assert [name for _, name in plan.deletes] == (["bot-train"] if gives_way else [])


def test_backoff_limit_counts_each_attempt_once() -> None:
    last = on_two_nodes(ended(0), backoffLimit=2)
    over = on_two_nodes(ended(0), ended(1), backoffLimit=2)

    assert phase_of(plan_of(last, train=failed(last, **CRASH))) == "Training"
    plan = plan_of(over, train=failed(over, **CRASH))

    found = conditions_of(plan)["Failed"]
    assert (found["status"], found["reason"]) == ("True", "BackoffLimitExceeded")
    assert "KeyError" in found["message"]
    assert found["message"].endswith("Its backoffLimit of 2 is reached.")
    assert plan.deletes == ()


def test_an_interruption_of_one_pod_is_no_failure() -> None:
    subject = on_two_nodes(backoffLimit=0)

    plan = plan_of(subject, train=failed(subject, 143, conditions=(disruption(),), seconds_ago=30))

    running = conditions_of(plan)["Running"]
    assert (running["status"], running["reason"]) == ("False", "Preempted")
    assert "backoffLimit" not in running["message"]
    assert [name for _, name in plan.deletes] == ["bot-train"]


def test_interruptions_in_vain_end_the_training_at_their_limit() -> None:
    subject = on_two_nodes(ended(0, "EvictionByEvictionAPI"), interruptionLimit=2)

    plan = plan_of(subject, train=failed(subject, 143, conditions=(disruption(),)))

    assert conditions_of(plan)["Failed"]["reason"] == "InterruptionLimitExceeded"


def test_wrong_input_ends_the_training_at_once() -> None:
    subject = on_two_nodes()
    wrong = TerminationMessage(reason="ModelInvalid", message="config.json is no model.")

    plan = plan_of(subject, train=failed(subject, 64, message=wrong, seconds_ago=60))

    found = conditions_of(plan)["Failed"]
    assert (found["status"], found["reason"]) == ("True", "ModelInvalid")
    assert "config.json" in found["message"]


def test_peers_that_never_come_end_the_training_with_that_reason() -> None:
    subject = on_two_nodes(backoffLimit=0)
    alone = TerminationMessage(reason="PeersMissing", message="Pod bot-train-1 did not come.")
    first = ended_pod("train", 1, message=alone, name="bot-train-0-now")
    job = job_of(subject, first, make_pod("train", name="bot-train-1-now")).failed("PodFailurePolicy").state()

    found = conditions_of(plan_of(subject, train=job))["Failed"]

    assert found["reason"] == "PeersMissing"
    assert "bot-train-1" in found["message"]


def test_an_attempt_whose_pods_are_gone_is_followed_by_another() -> None:
    running = AttemptStatus(pod="bot-train-0-now", start_time=stamp(900))
    subject = on_two_nodes(running)
    job = JobBuilder(subject, "train").failed("PodFailurePolicy", seconds_ago=60).state()

    plan = plan_of(subject, train=job)

    assert listed(plan) == [("bot-train-0-now", "Lost")]
    assert conditions_of(plan)["Running"]["reason"] == "NodeLost"
    assert [name for _, name in plan.deletes] == ["bot-train"]


def test_a_deadline_that_somebody_gave_the_job_ends_the_training() -> None:
    subject = on_two_nodes()
    pods = [running_pod("train", name=f"bot-train-{index}") for index in range(2)]
    job = job_of(subject, *pods).failed("DeadlineExceeded", message="Job was active too long")

    assert conditions_of(plan_of(subject, train=job.state()))["Failed"]["reason"] == "DeadlineExceeded"


def test_a_failure_of_one_pod_is_told_before_the_job_has_failed() -> None:
    subject = on_two_nodes()
    job = job_of(subject, ended_pod("train", 1, name="bot-train-0"), running_pod("train", name="bot-train-1"))

    plan = plan_of(subject, train=job.state())

    assert conditions_of(plan)["Running"]["status"] == "False"
    assert conditions_of(plan)["Running"]["reason"] == "Retrying"


@pytest.mark.parametrize(
    ("second", "want_reason", "want_words"),
    [
        (make_pod("train", name="bot-train-1"), "Pending", "for 840 s at most."),
        (unschedulable_pod("train"), "Unschedulable", "3 Insufficient nvidia.com/gpu"),
    ],
    ids=["it starts", "there is no place for it"],
)
def test_pods_that_wait_for_others_are_told_with_their_time(
    second: dict[str, Any], want_reason: str, want_words: str
) -> None:
    subject = on_two_nodes()
    first = running_pod("train", name="bot-train-0", started=60)

    plan = plan_of(subject, train=job_of(subject, first, second).state())

    running = conditions_of(plan)["Running"]
    assert (running["status"], running["reason"]) == ("False", want_reason)
    assert running["message"].startswith("1 of 2 pods run and wait for the others, ")
    assert want_words in running["message"]
    assert plan.requeue_after == 10
    assert GROUP_PATIENCE_SECONDS - 60 == 840


def test_pods_of_which_none_runs_wait_as_one_does() -> None:
    subject = on_two_nodes()
    pods = [make_pod("train", name=f"bot-train-{index}") for index in range(2)]

    plan = plan_of(subject, train=job_of(subject, *pods).state())

    assert "of 2 pods" not in conditions_of(plan)["Running"]["message"]


def test_the_limit_of_a_job_that_is_one_attempt_is_not_amended() -> None:
    subject = on_two_nodes(backoffLimit=7)
    pods = [running_pod("train", name=f"bot-train-{index}") for index in range(2)]

    plan = plan_of(subject, train=job_of(subject, *pods).state())

    assert [one["kind"] for one in plan.objects] == ["Service"]


@pytest.mark.parametrize("ran", [True, False], ids=["all of them ran", "one never started"])
def test_an_attempt_keeps_its_name_when_the_failed_job_has_taken_its_first_pod_away(ran: bool) -> None:
    subject = on_two_nodes(ended(0))
    first = running_pod("train", name="bot-train-0-now") if ran else make_pod("train", name="bot-train-0-now")
    second = ended_pod("train", 1, name="bot-train-1-now", **CRASH)
    before = plan_of(subject, train=job_of(subject, first, second).state())
    subject = written_status(subject, before.status)
    job = JobBuilder(subject, "train").with_pod(indexed(second, 1)).failed("PodFailurePolicy")

    after = plan_of(subject, train=job.state())

    assert listed(after) == [("bot-train-0-0", "TrainingFailed"), ("bot-train-0-now", "TrainingFailed")]
    assert before.status is not None
    assert after.status is not None
    assert before.status["attempts"] == after.status["attempts"]


@pytest.mark.parametrize("job_failed", [False, True])
def test_a_pod_that_lost_another_one_does_not_end_the_attempt_before_the_other_has_said_why(
    job_failed: bool,
) -> None:
    subject = on_two_nodes()
    first = ended_pod("train", 1, message=PEER_LOST, name="bot-train-0-now")
    builder = job_of(subject, first, running_pod("train", name="bot-train-1-now"))
    job = (builder.failed("PodFailurePolicy", seconds_ago=60) if job_failed else builder).state()

    plan = plan_of(subject, train=job)

    assert job.ending is None
    assert not plan.deletes
    running = conditions_of(plan)["Running"]
    assert (running["status"], running["reason"]) == ("False", "PeerLost")
    assert running["message"].endswith("Waits for the end of pod bot-train-1-now.")
    assert listed(plan_of(subject, train=failed(subject, **CRASH))) == [("bot-train-0-now", "TrainingFailed")]


def test_a_job_that_fails_with_no_pod_ever_seen_is_one_attempt_that_counts_once() -> None:
    subject = on_two_nodes(ended(1), backoffLimit=1)
    job = JobBuilder(subject, "train").failed("PodFailurePolicy", seconds_ago=1).state()

    plan = plan_of(subject, train=job)

    assert [reason for _, reason in listed(plan)] == ["TrainingFailed", "TrainingFailed"]
    assert phase_of(plan) == "Failed"
    assert plan.status is not None
    again = on_two_nodes(
        *(AttemptStatus.model_validate(one) for one in plan.status["attempts"]), backoffLimit=9
    )
    waits = plan_of(again, train=job)
    assert len(listed(waits)) == 2
    assert not waits.deletes
