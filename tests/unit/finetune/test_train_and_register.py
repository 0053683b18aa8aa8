"""From a prepared dataset to a registered artifact or a failure: every state of the train Job."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelgarden.api.conditions import Problem
from modelgarden.api.emissions import EmissionsRecord, ended_record
from modelgarden.api.finetunejob import AttemptStatus
from modelgarden.api.pods import TerminationMessage
from modelgarden.controller.view import View
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.plan import plan as plan_for
from modelgarden.finetune.steps.register import awaits_registration
from tests.unit.builders import (
    NOW,
    SETTINGS,
    JobBuilder,
    condition,
    disruption,
    ended_pod,
    make_emissions,
    make_evaluation,
    make_pod,
    make_registration,
    make_report,
    make_subject,
    ready,
    running_pod,
    stamp,
    unschedulable_pod,
    with_status,
    written_status,
)
from tests.unit.finetune.plans import conditions_of, names_of, phase_of, plan_of


def said(reason: str, message: str) -> TerminationMessage:
    return TerminationMessage(reason=reason, message=message)


@pytest.mark.parametrize(
    ("pods", "want_reason", "want_words"),
    [
        pytest.param([], "Pending", "waits for its pod", id="there is no pod yet"),
        pytest.param([make_pod("train")], "Pending", "waits for its pod", id="the pod is starting"),
        pytest.param([unschedulable_pod("train")], "Unschedulable", "Insufficient", id="no node has a free GPU"),
        pytest.param(
            [make_pod("train", state={"waiting": {"reason": "ImagePullBackOff", "message": "401"}})],
            "ImagePullFailed", "401",
            id="the image cannot be pulled",
        ),
        pytest.param(
            [ended_pod("train", 143, message=said("Terminated", "Checkpoint 40 is written."))],
            "Retrying", "Checkpoint 40",
            id="the pod was stopped and the next is on its way",
        ),
        pytest.param(
            [ended_pod("train", 75, message=said("StorageUnavailable", "S3 is away."))],
            "Retrying", "S3 is away",
            id="storage was away",
        ),
    ],
)  # fmt: skip
def test_training_that_does_not_run(pods: list[dict[str, Any]], want_reason: str, want_words: str) -> None:
    subject = make_subject(conditions=ready())
    job = JobBuilder(subject, "train")
    for pod in pods:
        job.with_pod(pod)

    plan = plan_of(subject, train=job.state())

    running = conditions_of(plan)["Running"]
    assert (running["status"], running["reason"]) == ("False", want_reason)
    assert want_words in running["message"]
    blocked = want_reason in ("Unschedulable", "ImagePullFailed")
    assert phase_of(plan) == ("Pending" if blocked else "Training")
    assert plan.event is not None
    expected = want_reason == "Pending"
    assert (plan.event.type, plan.event.reason) == ("Normal" if expected else "Warning", want_reason)
    assert plan.objects == ()


def test_a_pod_that_ended_well_is_not_waited_for_again() -> None:
    """The Job controller counts it a moment later."""
    subject = make_subject(conditions=ready())
    job = JobBuilder(subject, "train").with_pod(ended_pod("train", 0))

    plan = plan_of(subject, train=job.state())

    assert conditions_of(plan)["Running"]["reason"] == "TrainingFinished"
    assert plan.requeue_after == 2


def test_wrong_input_is_not_announced_as_tried_again() -> None:
    subject = make_subject(conditions=ready(condition("Running", "True", "Training")))
    job = JobBuilder(subject, "train").with_pod(
        ended_pod("train", 64, message=said("ModelInvalid", "No weights."))
    )

    plan = plan_of(subject, train=job.state())

    assert conditions_of(plan)["Running"]["reason"] == "Training"
    assert plan.requeue_after == 2


@pytest.mark.parametrize(
    ("left", "want_joules", "want_state"),
    [
        pytest.param(make_emissions({"uid-of-bot-pod-1": 9000}), 9000, "Measured", id="its own record is found"),
        pytest.param(None, 7200, "Partial", id="S3 does not answer"),
    ],
)  # fmt: skip
def test_a_failed_run_keeps_the_energy_of_its_last_moments(
    left: EmissionsRecord | None, want_joules: int, want_state: str
) -> None:
    subject = with_status(make_subject(conditions=ready()), carbon=make_emissions({"uid-of-bot-pod-1": 7200}))
    job = JobBuilder(subject, "train").with_pod(ended_pod("train", 1)).failed()
    emissions = None if left is None else (ended_record(left, reason="Lost"),)

    plan = plan_of(subject, train=job.state(), emissions=emissions)

    assert plan.status is not None
    carbon = plan.status["carbon"]
    assert (carbon["energyJoules"]["total"], carbon["state"]) == (want_joules, want_state)
    assert [one["reason"] for one in carbon["attempts"]] == ["Lost"]


def test_a_running_pod_trains_and_is_asked_every_ten_seconds() -> None:
    subject = make_subject(conditions=ready())
    job = JobBuilder(subject, "train").with_pod(running_pod("train"))

    plan = plan_of(subject, train=job.state(), report=make_report(step=50))

    assert conditions_of(plan)["Running"]["status"] == "True"
    assert plan.requeue_after == 10
    assert plan.status is not None
    assert plan.status["progress"]["percent"] == 50
    assert plan.status["carbon"]["energyJoules"]["total"] == 7200
    assert plan.status["attempts"] == [{"pod": "bot-pod-1", "startTime": stamp(60)}]
    assert plan.status["resolved"] == {
        "revision": "0123abc",
        "image": "registry.example/train:1",
        "imageDigest": "registry.example/train@sha256:1234",
        "hyperparameters": {"micro_batch_size": "4"},
    }


@pytest.mark.parametrize(
    ("step", "want_words"), [(40, "the newest complete one is of step 40"), (None, "there is none yet")]
)
def test_an_outage_of_storage_under_a_running_pod_is_told(step: int | None, want_words: str) -> None:
    subject = make_subject(conditions=ready())
    job = JobBuilder(subject, "train").with_pod(running_pod("train"))
    report = make_report(outage="s3://garden/x: Could not connect")
    report = report.model_copy(
        update={"progress": report.progress.model_copy(update={"checkpoint_step": step})}
    )

    plan = plan_of(subject, train=job.state(), report=report)

    running = conditions_of(plan)["Running"]
    assert (running["status"], running["reason"]) == ("True", "StorageUnavailable")
    assert want_words in running["message"]
    assert "Could not connect." in running["message"]
    assert phase_of(plan) == "Training"
    assert plan.event is not None
    assert (plan.event.type, plan.event.reason) == ("Warning", "StorageUnavailable")


def test_a_silent_pod_changes_nothing() -> None:
    subject = make_subject(conditions=ready())
    job = JobBuilder(subject, "train").with_pod(running_pod("train"))
    first = plan_of(subject, train=job.state(), report=make_report(step=50))

    second = plan_of(written_status(subject, first.status), train=job.state(), report=None)

    assert second.status == first.status


def test_an_attempt_that_follows_another_keeps_its_energy() -> None:
    subject = make_subject(conditions=ready())
    job = JobBuilder(subject, "train").with_pod(running_pod("train", name="first"))
    first = plan_of(
        subject,
        train=job.state(),
        report=make_report(attempt="uid-of-first", emissions=make_emissions({"uid-of-first": 5000})),
    )
    job = JobBuilder(subject, "train").with_pod(running_pod("train", name="second"))

    second = plan_of(
        written_status(subject, first.status),
        train=job.state(),
        report=make_report(attempt="uid-of-second", emissions=make_emissions({"uid-of-second": 700})),
    )

    assert second.status is not None
    assert second.status["carbon"]["energyJoules"]["total"] == 5700
    assert [(one["pod"], one.get("reason")) for one in second.status["attempts"]] == [
        ("first", "Lost"),
        ("second", None),
    ]


def test_attempts_tell_how_they_ended() -> None:
    subject = make_subject(conditions=ready())
    job = (
        JobBuilder(subject, "train")
        .with_pod(ended_pod("train", 143, name="a", conditions=(disruption("EvictionByEvictionAPI"),)))
        .with_pod(ended_pod("train", 137, name="b", reason="OOMKilled"))
        .with_pod(running_pod("train", name="c"))
    )

    plan = plan_of(subject, train=job.state())

    assert plan.status is not None
    assert [one.get("reason") for one in plan.status["attempts"]] == [
        "EvictionByEvictionAPI",
        "OutOfMemory",
        None,
    ]


@pytest.mark.parametrize(
    ("pod", "want_reason", "want_message"),
    [
        pytest.param(
            ended_pod("train", 0, message=said("Completed", "Artifact of 3 files is written.")),
            "Completed", "Artifact of 3 files is written.",
            id="it tells how it ended well",
        ),
        pytest.param(
            ended_pod("train", 143, message=said("Terminated", "Checkpoint 40 is written.")),
            "Terminated", "Checkpoint 40 is written.",
            id="it tells what it saved when it was stopped",
        ),
        pytest.param(
            ended_pod("train", 143, conditions=(disruption("EvictionByEvictionAPI"),)),
            "EvictionByEvictionAPI", "It was disrupted.",
            id="it was evicted and left nothing",
        ),
        pytest.param(
            ended_pod("train", 1, message="KeyError:\n  'x'"),
            "TrainingFailed",
            "The container train ended with exit code 1 (KeyError: 'x'); see kubectl logs bot-pod-1.",
            id="its traceback stands on one line",
        ),
        pytest.param(
            ended_pod("train", 64, message=said("ModelInvalid", "x" * 600)),
            "ModelInvalid", "x" * 508 + " ...",
            id="more than 512 bytes are cut",
        ),
        pytest.param(running_pod("train"), None, None, id="one that runs has none"),
    ],
)  # fmt: skip
def test_an_attempt_has_the_message_that_its_pod_ended_with(
    pod: dict[str, Any], want_reason: str | None, want_message: str | None
) -> None:
    subject = make_subject(conditions=ready())

    plan = plan_of(subject, train=JobBuilder(subject, "train").with_pod(pod).state())

    assert plan.status is not None
    (attempt,) = plan.status["attempts"]
    assert (attempt.get("reason"), attempt.get("message")) == (want_reason, want_message)


def test_an_attempt_keeps_its_message_when_its_pod_is_gone() -> None:
    known = AttemptStatus(
        pod="a", start_time=stamp(90), end_time=stamp(70), reason="OutOfMemory", message="It was killed."
    )
    subject = with_status(make_subject(conditions=ready()), attempts=(known,))

    plan = plan_of(
        subject, train=JobBuilder(subject, "train").with_pod(running_pod("train", name="b")).state()
    )

    assert plan.status is not None
    assert [one.get("message") for one in plan.status["attempts"]] == ["It was killed.", None]


def test_only_the_newest_attempts_are_listed() -> None:
    known = tuple(
        AttemptStatus(
            pod=f"pod-{place}", start_time=stamp(10_000 - place), end_time=stamp(9_000 - place), reason="Lost"
        )
        for place in range(40)
    )
    subject = with_status(make_subject(conditions=ready()), attempts=known)
    job = JobBuilder(subject, "train").with_pod(running_pod("train"))

    plan = plan_of(subject, train=job.state())

    assert plan.status is not None
    assert len(plan.status["attempts"]) == 32
    assert plan.status["attempts"][-1]["pod"] == "bot-pod-1"
    assert plan.status["attempts"][0]["pod"] == "pod-9"


@pytest.mark.parametrize(
    ("pods", "job_reason", "want_reason", "want_words"),
    [
        pytest.param(
            [ended_pod("train", 64, message=said("InvalidConfiguration", "maxSequenceLength 9000 is too long."))],
            "PodFailurePolicy", "InvalidConfiguration", "9000",
            id="a user error fails at once with the pod's words",
        ),
        pytest.param(
            [ended_pod("train", 1, message="KeyError: 'x'")],
            "BackoffLimitExceeded", "BackoffLimitExceeded", "KeyError",
            id="too many failures say how the last one ended",
        ),
        pytest.param(
            [ended_pod("train", 137, reason="OOMKilled")],
            "BackoffLimitExceeded", "OutOfMemory", "limit of 4Gi",
            id="too many kills by the kernel are out of memory",
        ),
        pytest.param(
            [ended_pod("train", 143, conditions=(disruption(),))],
            "PodFailurePolicy", "TrainingFailed", "It was disrupted.",
            id="a disruption is a failure of the training where the Job ends with it",
        ),
        pytest.param(
            [], "BackoffLimitExceeded", "BackoffLimitExceeded", "Job has failed",
            id="without a pod the Job's words remain",
        ),
        pytest.param(
            [], "PodFailurePolicy", "TrainingFailed", "Job has failed",
            id="a failure policy without a pod is a failure of the training",
        ),
        pytest.param(
            [running_pod("train")], "DeadlineExceeded", "DeadlineExceeded", "Job has failed",
            id="somebody gave the Job a deadline",
        ),
    ],
)  # fmt: skip
def test_training_that_failed(
    pods: list[dict[str, Any]], job_reason: str, want_reason: str, want_words: str
) -> None:
    subject = make_subject(conditions=ready())
    job = JobBuilder(subject, "train").failed(job_reason, message="Job has failed")
    for pod in pods:
        job.with_pod(pod)

    plan = plan_of(subject, train=job.state())

    failed = conditions_of(plan)["Failed"]
    assert (failed["status"], failed["reason"]) == ("True", want_reason)
    assert want_words in failed["message"]
    assert conditions_of(plan)["Running"]["status"] == "False"
    assert phase_of(plan) == "Failed"
    assert plan.status is not None
    assert plan.status["completionTime"] == stamp()
    assert plan.event is not None
    assert (plan.event.type, plan.event.reason) == ("Warning", want_reason)


def test_a_failed_attempt_whose_pod_is_gone_is_remembered() -> None:
    attempt = AttemptStatus(
        pod="gone", start_time=stamp(60), end_time=stamp(5), reason="TrainingFailed", message="KeyError: 'x'"
    )
    subject = with_status(make_subject(conditions=ready()), attempts=(attempt,))

    plan = plan_of(subject, train=JobBuilder(subject, "train").failed().state())

    assert "KeyError: 'x'" in conditions_of(plan)["Failed"]["message"]


def test_a_failed_run_keeps_what_it_used() -> None:
    subject = with_status(make_subject(conditions=ready()), carbon=make_emissions({"uid-of-bot-pod-1": 900}))
    job = JobBuilder(subject, "train").failed().with_pod(ended_pod("train", 1))

    plan = plan_of(subject, train=job.state())

    assert plan.status is not None
    assert plan.status["carbon"]["energyJoules"]["total"] == 900


def test_a_next_attempt_that_cannot_be_made_says_why() -> None:
    subject = make_subject(conditions=ready())
    job = JobBuilder(subject, "train").with_pod(ended_pod("train", 1)).state()

    plan = plan_of(subject, train=replace(job, refusal="exceeded quota: gpus"))

    found = conditions_of(plan)["Running"]
    assert (found["status"], found["reason"]) == ("False", "ApplyRejected")
    assert "exceeded quota: gpus" in found["message"]


def complete_observation(subject: Any, **seen: Any) -> Observation:
    job = JobBuilder(subject, "train").complete().with_pod(ended_pod("train", 0))
    return Observation(train=job.state(), **seen)


def test_a_finished_training_awaits_its_registration() -> None:
    subject = make_subject(conditions=ready())
    seen = complete_observation(subject)

    plan = plan_for(View(subject, seen, SETTINGS, NOW))

    assert awaits_registration(subject, seen)
    assert conditions_of(plan)["ArtifactRegistered"]["reason"] == "Registering"
    assert phase_of(plan) == "Registering"
    assert plan.requeue_after is not None


def test_a_registered_artifact_completes_the_job() -> None:
    subject = with_status(make_subject(conditions=ready()), progress=make_report(step=93).progress)
    seen = complete_observation(subject, registration=make_registration(subject, version=7))

    plan = plan_for(View(subject, seen, SETTINGS, NOW))

    found = conditions_of(plan)
    assert found["ArtifactRegistered"]["status"] == "True"
    assert found["Complete"]["status"] == "True"
    assert found["Running"]["reason"] == "TrainingFinished"
    assert phase_of(plan) == "Complete"
    assert plan.status is not None
    assert plan.status["artifact"] == {
        "uri": "s3://garden/root/runs/team/bot/0b3f6a1e-52f4-4e0a-9d0b-7a1c5f1f0001/manifest.json",
        "manifestSha256": "ab" * 32,
        "modelName": "bot",
        "version": 7,
        "formats": ["Merged16Bit"],
        "bytes": 4096,
    }
    assert (plan.status["progress"]["stage"], plan.status["progress"]["percent"]) == ("Done", 100)
    assert plan.status["evaluation"] == make_evaluation().to_dict()
    assert plan.status["dataset"]["trainingRows"] == 100
    assert plan.status["carbon"]["emissionsMilligrams"] == make_emissions().emissions_milligrams
    assert plan.status["completionTime"] == stamp()
    assert plan.requeue_after is None
    assert plan.event is not None
    assert (plan.event.type, plan.event.reason) == ("Normal", "Succeeded")


@pytest.mark.parametrize("reason", ["StorageUnavailable", "AccessDenied", "BucketNotFound", "SecretNotFound"])
def test_an_artifact_that_cannot_be_registered_yet_is_not_lost(reason: str) -> None:
    subject = make_subject(conditions=ready())
    seen = complete_observation(subject, registration=Problem(reason, "S3 is away."))

    plan = plan_for(View(subject, seen, SETTINGS, NOW))

    found = conditions_of(plan)
    assert (found["ArtifactRegistered"]["status"], found["ArtifactRegistered"]["reason"]) == ("False", reason)
    assert "Failed" not in found
    assert phase_of(plan) == "Registering"
    assert plan.requeue_after == 10.0


def test_registration_is_tried_again_soon_however_long_storage_was_away() -> None:
    waiting = condition("ArtifactRegistered", "False", "StorageUnavailable", seconds_ago=600)
    subject = make_subject(conditions=ready(waiting))
    seen = complete_observation(subject, registration=Problem("StorageUnavailable", "S3 is away."))

    assert plan_for(View(subject, seen, SETTINGS, NOW)).requeue_after == 10.0


def test_an_artifact_that_does_not_match_its_manifest_fails_the_job() -> None:
    subject = make_subject(conditions=ready())
    problem = Problem("ArtifactInvalid", "model.safetensors has 3 bytes, the manifest says 4.")
    seen = complete_observation(subject, registration=problem)

    plan = plan_for(View(subject, seen, SETTINGS, NOW))

    found = conditions_of(plan)
    assert found["Failed"]["reason"] == "ArtifactInvalid"
    assert found["ArtifactRegistered"]["status"] == "False"
    assert phase_of(plan) == "Failed"


def test_training_waits_for_the_pod_of_a_deleted_job() -> None:
    subject = make_subject(conditions=ready())

    plan = plan_of(subject, strays=("bot-train-x",))

    assert plan.objects == ()
    assert "bot-train-x" in conditions_of(plan)["Running"]["message"]


def test_a_deleted_train_job_is_made_again_and_resumes() -> None:
    known = AttemptStatus(pod="bot-train-1", start_time=stamp(60))
    subject = with_status(make_subject(conditions=ready()), attempts=(known,))

    plan = plan_of(subject)

    assert names_of(plan) == ["bot-train"]
    assert plan.status is not None
    assert plan.status["attempts"][0]["reason"] == "Lost"


def test_an_artifact_whose_train_job_is_gone_is_registered_not_made_again() -> None:
    subject = with_status(
        make_subject(conditions=ready()), attempts=(AttemptStatus(pod="gone", start_time=stamp(60)),)
    )
    seen = Observation(registration=make_registration(subject))

    plan = plan_for(View(subject, seen, SETTINGS, NOW))

    assert awaits_registration(subject, Observation())
    assert plan.objects == ()
    assert phase_of(plan) == "Complete"


def test_storage_that_is_away_keeps_a_deleted_train_job_from_being_made_again() -> None:
    subject = with_status(
        make_subject(conditions=ready()), attempts=(AttemptStatus(pod="gone", start_time=stamp(60)),)
    )
    seen = Observation(registration=Problem("StorageUnavailable", "S3 is away."))

    plan = plan_for(View(subject, seen, SETTINGS, NOW))

    assert plan.objects == ()
    assert plan.requeue_after == 10.0
    running = conditions_of(plan)["Running"]
    assert running["reason"] == "StorageUnavailable"
    assert "as soon as it is known whether there is an artifact" in running["message"]
    assert "ArtifactRegistered" not in conditions_of(plan)


def test_an_artifact_that_was_looked_for_in_vain_is_trained_again() -> None:
    looked = condition("ArtifactRegistered", "False", "StorageUnavailable")
    subject = with_status(
        make_subject(conditions=ready(looked)), attempts=(AttemptStatus(pod="gone", start_time=stamp(60)),)
    )

    plan = plan_of(subject)

    assert names_of(plan) == ["bot-train"]
    assert conditions_of(plan)["ArtifactRegistered"]["reason"] == "Training"
    assert phase_of(plan) == "Training"


def test_a_job_that_never_trained_has_nothing_to_register() -> None:
    assert not awaits_registration(make_subject(conditions=ready()), Observation())


def test_a_job_that_is_over_has_nothing_to_register() -> None:
    over = with_status(
        make_subject(conditions=ready(condition("Failed", "True", "TrainingFailed"))),
        attempts=(AttemptStatus(pod="gone", start_time=stamp(60)),),
    )
    done = JobBuilder(over, "train").complete().with_pod(ended_pod("train", 0))

    assert not awaits_registration(over, Observation())
    assert not awaits_registration(over, Observation(train=done.state()))


def test_prepare_is_not_asked_for_again_once_the_dataset_is_ready() -> None:
    plan = plan_of(make_subject(conditions=ready()))

    assert names_of(plan) == ["bot-train"]


@pytest.mark.parametrize(
    ("pod", "want_reason", "want_words"),
    [
        (
            ended_pod("train", 143, conditions=(disruption(),)),
            "Preempted",
            "It was disrupted. The next attempt resumes at the newest checkpoint; it was interrupted, which is no failure.",
        ),
        (
            ended_pod("train", 1, message=said("Stalled", "Silent for 1800 s at step 40.")),
            "Stalled",
            "step 40. The next attempt resumes at the newest checkpoint; backoffLimit counts this end.",
        ),
        (
            ended_pod("train", 75, message=said("StorageUnavailable", "S3 is away.")),
            "Retrying",
            "S3 is away. The next attempt resumes at the newest checkpoint.",
        ),
    ],
    ids=["an interruption", "a failure", "what somebody else has to mend"],
)
def test_between_attempts_it_is_told_what_the_end_counts_as(
    pod: dict[str, Any], want_reason: str, want_words: str
) -> None:
    subject = make_subject(conditions=ready())

    plan = plan_of(subject, train=JobBuilder(subject, "train").with_pod(pod).state())

    running = conditions_of(plan)["Running"]
    assert (running["status"], running["reason"]) == ("False", want_reason)
    assert running["message"].endswith(want_words)
    assert phase_of(plan) == "Training"
    assert plan.event is not None
    assert (plan.event.type, plan.event.reason) == ("Warning", want_reason)


def test_a_queue_that_takes_the_place_back_preempts() -> None:
    subject = make_subject(conditions=ready())
    job = JobBuilder(subject, "train").suspended().with_pod(ended_pod("train", 143))

    plan = plan_of(subject, train=job.state())

    assert conditions_of(plan)["Running"]["reason"] == "Preempted"


def test_a_job_that_is_stalled_again_and_again_fails_as_stalled() -> None:
    subject = make_subject(conditions=ready())
    job = JobBuilder(subject, "train").failed()
    job.with_pod(ended_pod("train", 1, message=said("Stalled", "Silent for 1800 s.")))

    failed = conditions_of(plan_of(subject, train=job.state()))["Failed"]

    assert failed["reason"] == "Stalled"
    assert failed["message"].endswith("Silent for 1800 s. Its backoffLimit of 3 is reached.")


def interrupted(number: int, *, step: int) -> AttemptStatus:
    return AttemptStatus(
        pod=f"pod-{number}", start_time=stamp(900 - number), end_time=stamp(880 - number),
        reason="EvictionByEvictionAPI", message="Drained.", checkpoint_step=step,
    )  # fmt: skip


def test_interruptions_without_a_newer_checkpoint_end_the_job_at_their_limit() -> None:
    known = (interrupted(0, step=20), *(interrupted(number, step=20) for number in (1, 2)))
    subject = with_status(
        make_subject(conditions=ready(), interruptionLimit=2), attempts=known, carbon=make_emissions()
    )
    job = JobBuilder(subject, "train").with_pod(make_pod("train"))

    plan = plan_of(subject, train=job.state())

    failed = conditions_of(plan)["Failed"]
    assert (failed["status"], failed["reason"]) == ("True", "InterruptionLimitExceeded")
    assert failed["message"].startswith(
        "2 attempts in a row were interrupted before they had a newer checkpoint (interruptionLimit). The last one: "
        "EvictionByEvictionAPI. Drained. In a new FineTuneJob set a smaller checkpoint.everySteps"
    )
    assert [name for _, name in plan.deletes] == ["bot-train"]
    assert plan.status is not None
    assert plan.status["carbon"]["attempts"][-1]["reason"] == "Failed"
    assert plan.status["completionTime"] == stamp()


def test_interruptions_with_newer_checkpoints_are_no_end() -> None:
    known = tuple(interrupted(number, step=20 * number) for number in range(1, 25))
    subject = with_status(make_subject(conditions=ready(), interruptionLimit=1), attempts=known)
    job = JobBuilder(subject, "train").with_pod(running_pod("train"))

    assert conditions_of(plan_of(subject, train=job.state()))["Running"]["status"] == "True"


def test_an_attempt_keeps_the_newest_checkpoint_that_it_told_of() -> None:
    subject = make_subject(conditions=ready())
    running = JobBuilder(subject, "train").with_pod(running_pod("train")).state()
    report = make_report()
    report = report.model_copy(
        update={"progress": report.progress.model_copy(update={"checkpoint_step": 40})}
    )

    first = plan_of(subject, train=running, report=report)
    later = written_status(subject, first.status)
    second = plan_of(
        later, train=JobBuilder(later, "train").with_pod(ended_pod("train", 143)).state(), report=None
    )

    for plan in (first, second):
        assert plan.status is not None
        assert [one.get("checkpointStep") for one in plan.status["attempts"]] == [40]


@pytest.mark.parametrize(
    ("seconds_over", "want"),
    [(5, ("True", "Training")), (31, ("False", "NodeLost"))],
    ids=["just now", "long ago"],
)
def test_a_pod_that_its_node_does_not_end_is_lost(seconds_over: float, want: tuple[str, str]) -> None:
    subject = make_subject(conditions=ready())
    pod = running_pod("train")
    pod["metadata"]["deletionTimestamp"] = stamp(seconds_over)
    pod["spec"]["nodeName"] = "gpu-7"

    plan = plan_of(subject, train=JobBuilder(subject, "train").with_pod(pod).state())

    running = conditions_of(plan)["Running"]
    assert (running["status"], running["reason"]) == want
    if want[1] == "NodeLost":
        assert "node gpu-7 does not say that it did" in running["message"]
        assert "out-of-service" in running["message"]
        assert plan.requeue_after is not None
