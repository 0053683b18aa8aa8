"""From a new FineTuneJob to a prepared dataset: every state of secret, inputs and prepare Job."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from modelgarden.api.conditions import Problem
from modelgarden.api.names import INPUTS_HASH_ANNOTATION
from modelgarden.api.pods import TerminationMessage
from modelgarden.controller.view import View
from modelgarden.finetune.manifests.prepare import prepare_job
from modelgarden.finetune.manifests.train import train_job
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.plan import plan
from modelgarden.finetune.steps.acceptance import refused_host
from modelgarden.kube.resources import JOBS
from tests.unit.api.test_needs import make_needs
from tests.unit.builders import (
    FINGERPRINT,
    NOW,
    SETTINGS,
    JobBuilder,
    condition,
    disruption,
    ended_pod,
    make_dataset,
    make_pod,
    make_report,
    make_subject,
    running_pod,
    stamp,
    unschedulable_pod,
    with_status,
    written_status,
)
from tests.unit.finetune.plans import conditions_of, names_of, phase_of, plan_of


def refused_by(reason: str, message: str = "Line 3 lacks the field prompt.") -> dict[str, Any]:
    return ended_pod("prepare", 64, message=TerminationMessage(reason=reason, message=message))


def test_a_new_job_is_accepted_and_starts_to_prepare() -> None:
    plan = plan_of(make_subject(), inputs=FINGERPRINT)

    found = conditions_of(plan)
    assert names_of(plan) == ["bot-prepare"]
    assert plan.objects[0]["metadata"]["annotations"] == {INPUTS_HASH_ANNOTATION: FINGERPRINT}
    assert found["Accepted"]["status"] == "True"
    assert found["DatasetReady"]["reason"] == "Preparing"
    assert phase_of(plan) == "Preparing"
    assert plan.status is not None
    assert plan.status["startTime"] == stamp()
    assert plan.status["observedGeneration"] == 1
    assert plan.event is not None
    assert (plan.event.type, plan.event.reason) == ("Normal", "Preparing")


def test_nothing_changes_from_applying_the_prepare_job_until_its_pod_runs() -> None:
    subject = make_subject()
    first = plan_of(subject, inputs=FINGERPRINT)
    subject = written_status(subject, first.status)
    job = JobBuilder(subject, "prepare")

    statuses = [
        plan_of(subject, prepare=job.state()).status,
        plan_of(subject, prepare=job.with_pod(make_pod("prepare")).state()).status,
        plan_of(subject, prepare=job.with_pod(running_pod("prepare")).state()).status,
    ]

    assert statuses == [first.status] * 3


@pytest.mark.parametrize(
    "reason",
    ["SecretNotFound", "SecretInvalid", "BucketNotFound", "DatasetNotFound", "ModelNotFound", "AccessDenied",
     "StorageUnavailable"],
)  # fmt: skip
def test_a_problem_with_the_inputs_blocks_and_creates_nothing(reason: str) -> None:
    plan = plan_of(make_subject(), inputs=Problem(reason, "Create it."))

    assert plan.objects == ()
    assert conditions_of(plan)["Accepted"] | {"message": ""} == {
        "type": "Accepted",
        "status": "False",
        "reason": reason,
        "message": "",
        "observedGeneration": 1,
        "lastTransitionTime": stamp(),
    }
    assert phase_of(plan) == "Blocked"
    assert plan.status is not None
    assert "startTime" not in plan.status
    assert plan.requeue_after == 5.0
    assert plan.event is not None
    assert (plan.event.type, plan.event.reason) == ("Warning", reason)


@pytest.mark.parametrize(
    "seconds_ago", [0, 40, 3600], ids=["blocked just now", "blocked for 40 s", "blocked for an hour"]
)
def test_mended_inputs_are_seen_soon_however_long_they_were_wrong(seconds_ago: float) -> None:
    blocked = condition("Accepted", "False", "SecretNotFound", seconds_ago=seconds_ago)

    plan = plan_of(make_subject(conditions=(blocked,)), inputs=Problem("SecretNotFound", "Create it."))

    assert plan.requeue_after == 5.0
    assert conditions_of(plan)["Accepted"]["lastTransitionTime"] == stamp(seconds_ago)


def test_the_time_of_the_start_is_kept() -> None:
    subject = with_status(make_subject(), start_time=stamp(90))

    status = plan_of(subject, inputs=FINGERPRINT).status

    assert status is not None
    assert status["startTime"] == stamp(90)


def test_what_is_known_of_the_dataset_is_kept_where_nothing_is_told_anew() -> None:
    subject = with_status(make_subject(), dataset=make_dataset(rows=7))
    job = JobBuilder(subject, "prepare").complete()

    status = plan_of(subject, prepare=job.state()).status

    assert status is not None
    assert status["dataset"]["rows"] == 7


def test_a_job_without_a_pod_is_asked_about_less_often_the_older_it_is() -> None:
    job = JobBuilder(make_subject(), "prepare")
    job.body["metadata"]["creationTimestamp"] = stamp(60)

    assert plan_of(make_subject(), prepare=job.state()).requeue_after == 30


def test_mended_inputs_are_accepted_without_any_other_help() -> None:
    blocked = condition("Accepted", "False", "BucketNotFound")

    plan = plan_of(make_subject(conditions=(blocked,)), inputs=FINGERPRINT)

    assert names_of(plan) == ["bot-prepare"]
    assert conditions_of(plan)["Accepted"]["status"] == "True"
    assert conditions_of(plan)["Accepted"]["lastTransitionTime"] == stamp()


@pytest.mark.parametrize(
    ("pod", "want_reason", "want_phase"),
    [
        pytest.param(unschedulable_pod("prepare"), "Unschedulable", "Preparing", id="no node has room"),
        pytest.param(
            unschedulable_pod("prepare", seconds_ago=1), "Preparing", "Preparing",
            id="a place may still be found within 5 s",
        ),
        pytest.param(
            make_pod("prepare", state={"waiting": {"reason": "ErrImagePull", "message": "not found"}}),
            "ImagePullFailed", "Preparing",
            id="the image cannot be pulled",
        ),
        pytest.param(
            make_pod(
                "prepare",
                state={"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "s3" not found'}},
            ),
            "SecretNotFound", "Blocked",
            id="the secret was removed meanwhile",
        ),
        pytest.param(
            ended_pod("prepare", 75, message=TerminationMessage(reason="StorageUnavailable", message="S3 is away.")),
            "Retrying", "Preparing",
            id="storage is away and the Job tries again",
        ),
        pytest.param(
            ended_pod("prepare", 64, message=TerminationMessage(reason="DatasetInvalid", message="line 5: no answer")),
            "DatasetInvalid", "Blocked",
            id="the input is wrong and the Job is about to fail for it",
        ),
    ],
)  # fmt: skip
def test_what_the_prepare_pod_waits_for(pod: dict[str, Any], want_reason: str, want_phase: str) -> None:
    subject = make_subject()

    plan = plan_of(subject, prepare=JobBuilder(subject, "prepare").with_pod(pod).state())

    assert conditions_of(plan)["DatasetReady"]["reason"] == want_reason
    assert phase_of(plan) == want_phase
    assert plan.deletes == ()


def test_what_went_wrong_is_said_while_prepare_tries_again() -> None:
    subject = make_subject()
    away = TerminationMessage(reason="StorageUnavailable", message="the hub is away")
    job = JobBuilder(subject, "prepare").with_pod(ended_pod("prepare", 75, message=away))

    plan = plan_of(subject, prepare=job.with_pod(running_pod("prepare", name="bot-pod-2")).state())

    found = conditions_of(plan)["DatasetReady"]
    assert (found["reason"], found["message"]) == (
        "Retrying",
        "the hub is away. The prepare Job tries again.",
    )
    assert plan.event is not None
    assert (plan.event.type, plan.event.reason) == ("Warning", "Retrying")


def test_a_prepare_that_is_about_to_fail_is_told_as_one_that_has_failed() -> None:
    subject = make_subject()
    wrong = TerminationMessage(reason="DatasetInvalid", message="line 5: no answer")
    job = JobBuilder(subject, "prepare").with_pod(ended_pod("prepare", 64, message=wrong))

    about_to = plan_of(subject, prepare=job.state())
    failed = plan_of(subject, prepare=job.failed().state())

    found = conditions_of(about_to)["DatasetReady"]
    assert (found["reason"], found["message"]) == (
        "DatasetInvalid",
        "line 5: no answer. It is tried again by itself when dataset, model or a secret change; to change the spec create "
        "a new FineTuneJob.",
    )
    assert conditions_of(failed)["DatasetReady"] == found
    assert failed.event == about_to.event


def test_a_place_that_may_still_be_found_is_looked_for_again_soon() -> None:
    subject = make_subject()
    pod = unschedulable_pod("prepare", seconds_ago=1)

    plan = plan_of(subject, prepare=JobBuilder(subject, "prepare").with_pod(pod).state())

    assert plan.requeue_after == 4.0


def test_a_pod_that_cannot_be_made_blocks_with_the_reason() -> None:
    subject = make_subject()
    job = replace(JobBuilder(subject, "prepare").state(), refusal="exceeded quota: gpus")

    plan = plan_of(subject, prepare=job)

    found = conditions_of(plan)["DatasetReady"]
    assert found["reason"] == "ApplyRejected"
    assert "exceeded quota: gpus" in found["message"]
    assert phase_of(plan) == "Blocked"
    assert plan.deletes == ()
    assert plan.requeue_after == 5


def test_a_job_without_a_pod_is_looked_at_again() -> None:
    subject = make_subject()

    plan = plan_of(subject, prepare=JobBuilder(subject, "prepare").state())

    assert conditions_of(plan)["DatasetReady"]["reason"] == "Preparing"
    assert plan.requeue_after == 5


def test_a_prepare_job_that_a_queue_holds_back_is_left_alone() -> None:
    subject = make_subject(podTemplate={"labels": {"kueue.x-k8s.io/queue-name": "gpus"}})

    plan = plan_of(subject, prepare=JobBuilder(subject, "prepare").suspended().state())

    assert plan.objects == ()
    assert phase_of(plan) == "Preparing"


@pytest.mark.parametrize("from_pod", [True, False], ids=["from its pod", "from the report in S3"])
def test_a_prepared_dataset_starts_the_training(from_pod: bool) -> None:
    subject = make_subject()
    found = make_dataset(dropped={"TooLong": 2})
    message = TerminationMessage(reason="DatasetReady", message="Done.", dataset=found)
    job = JobBuilder(subject, "prepare").complete()
    seen: dict[str, Any] = {"prepare": job.state(), "dataset": found}
    if from_pod:
        seen = {"prepare": job.with_pod(ended_pod("prepare", 0, message=message)).state()}

    plan = plan_of(subject, **seen)

    assert names_of(plan) == ["bot-train"]
    assert conditions_of(plan)["DatasetReady"]["status"] == "True"
    assert "100 rows to train on and 20 held out" in conditions_of(plan)["DatasetReady"]["message"]
    assert conditions_of(plan)["Running"]["reason"] == "Pending"
    assert phase_of(plan) == "Training"
    assert plan.status is not None
    assert plan.status["dataset"]["dropped"] == {"TooLong": 2}


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("other", "in storage, by FineTuneJob other."),
        ("bot", "in storage, by an earlier FineTuneJob of this name."),
        (None, "held out are prepared in storage."),
    ],
)
def test_who_has_prepared_the_rows_is_told(by: str | None, told: str) -> None:
    subject = make_subject()
    dataset = make_dataset().model_copy(update={"prepared_by": by})
    said = TerminationMessage(reason="DatasetReady", message="x", dataset=dataset)
    job = JobBuilder(subject, "prepare").with_pod(ended_pod("prepare", 0, message=said)).complete()

    found = conditions_of(plan_of(subject, prepare=job.state()))["DatasetReady"]

    assert found["message"].endswith(told)


def test_training_starts_even_when_nobody_can_tell_what_prepare_found() -> None:
    subject = make_subject()

    plan = plan_of(subject, prepare=JobBuilder(subject, "prepare").complete().state())

    assert names_of(plan) == ["bot-train"]
    assert plan.status is not None
    assert "dataset" not in plan.status


@pytest.mark.parametrize("reason", ["DatasetInvalid", "ModelInvalid", "AccessDenied", "InvalidConfiguration"])
def test_a_refused_dataset_blocks_but_does_not_fail(reason: str) -> None:
    subject = make_subject()
    job = JobBuilder(subject, "prepare").failed("PodFailurePolicy").with_pod(refused_by(reason))

    plan = plan_of(subject, prepare=job.state(), inputs=FINGERPRINT)

    found = conditions_of(plan)
    assert found["DatasetReady"]["reason"] == reason
    assert "Line 3 lacks the field prompt." in found["DatasetReady"]["message"]
    assert "Failed" not in found
    assert phase_of(plan) == "Blocked"
    assert plan.deletes == ()
    assert plan.requeue_after == 5.0
    assert plan.event is not None
    assert (plan.event.type, plan.event.reason) == ("Warning", reason)


def test_what_only_another_spec_mends_is_not_said_to_be_tried_again() -> None:
    subject = make_subject()
    job = JobBuilder(subject, "prepare").failed().with_pod(refused_by("InvalidConfiguration"))

    message = conditions_of(plan_of(subject, prepare=job.state(), inputs=FINGERPRINT))["DatasetReady"][
        "message"
    ]

    assert message.endswith("create a new FineTuneJob with the corrected one.")
    assert "tried again" not in message


@pytest.mark.parametrize(
    ("reason", "named"),
    [("DatasetInvalid", True), ("ModelInvalid", True), ("OutOfMemory", True), ("AccessDenied", False)],
)
def test_advice_to_change_the_spec_says_that_it_takes_a_new_job(reason: str, named: bool) -> None:
    subject = make_subject()
    job = JobBuilder(subject, "prepare").failed().with_pod(refused_by(reason))

    message = conditions_of(plan_of(subject, prepare=job.state(), inputs=FINGERPRINT))["DatasetReady"][
        "message"
    ]

    assert "tried again" in message
    assert ("to change the spec create a new FineTuneJob" in message) == named


def test_changed_inputs_start_prepare_again_in_two_steps() -> None:
    subject = make_subject()
    job = JobBuilder(subject, "prepare", inputs_hash="old").failed().with_pod(refused_by("DatasetInvalid"))

    remove = plan_of(subject, prepare=job.state(), inputs=FINGERPRINT)
    again = plan_of(written_status(subject, remove.status), inputs=FINGERPRINT)

    assert remove.deletes == ((JOBS, "bot-prepare"),)
    assert remove.objects == ()
    assert phase_of(remove) == "Preparing"
    assert remove.requeue_after is not None
    assert names_of(again) == ["bot-prepare"]
    assert again.objects[0]["metadata"]["annotations"] == {INPUTS_HASH_ANNOTATION: FINGERPRINT}


@pytest.mark.parametrize(
    ("image", "want_again"), [("registry.example/train:1", False), ("registry.example/train:2", True)]
)
def test_a_train_image_that_is_too_old_is_tried_again_once_it_is_another(
    image: str, want_again: bool
) -> None:
    subject = make_subject()
    job = JobBuilder(subject, "prepare").failed().with_pod(refused_by("UpgradeNeeded"))
    seen = Observation(prepare=job.state(), inputs=FINGERPRINT)
    settings = SETTINGS.model_copy(update={"train_image": image})

    found = plan(View(subject, seen, settings, NOW + timedelta(days=1)))

    assert found.deletes == (((JOBS, "bot-prepare"),) if want_again else ())
    if not want_again:
        assert conditions_of(found)["DatasetReady"]["reason"] == "UpgradeNeeded"
        assert "with another image" in conditions_of(found)["DatasetReady"]["message"]


def test_inputs_that_vanish_after_a_refusal_are_told() -> None:
    subject = make_subject()
    job = JobBuilder(subject, "prepare").failed().with_pod(refused_by("DatasetInvalid"))

    plan = plan_of(subject, prepare=job.state(), inputs=Problem("DatasetNotFound", "Upload it."))

    assert conditions_of(plan)["Accepted"]["reason"] == "DatasetNotFound"
    assert conditions_of(plan)["DatasetReady"]["reason"] == "DatasetInvalid"
    assert plan.deletes == ()


@pytest.mark.parametrize(
    ("source", "reason", "seconds_ago", "want_again"),
    [
        pytest.param(
            "hf://org/name", "ModelInvalid", 301, True, id="a hub's model is tried again after 5 minutes"
        ),
        pytest.param("hf://org/name", "ModelInvalid", 300, True, id="not a second later"),
        pytest.param(
            "hf://org/name", "ModelInvalid", 200, False, id="a hub's model is not tried again before"
        ),
        pytest.param(
            "s3://models/tiny", "ModelInvalid", 301, False, id="a model in S3 is tried again when it changes"
        ),
        pytest.param(
            "s3://models/tiny", "AccessDenied", 301, True, id="permissions cannot be seen, so they are tried"
        ),
        pytest.param("hf://org/name", "DatasetInvalid", 301, False, id="the dataset is always seen"),
    ],
)
def test_what_is_tried_again_by_time(source: str, reason: str, seconds_ago: float, want_again: bool) -> None:
    subject = make_subject(model={"source": source})
    job = JobBuilder(subject, "prepare").failed(seconds_ago=seconds_ago).with_pod(refused_by(reason))

    plan = plan_of(subject, prepare=job.state(), inputs=FINGERPRINT)

    assert plan.deletes == (((JOBS, "bot-prepare"),) if want_again else ())


@pytest.mark.parametrize("reason", ["DatasetInvalid", "DatasetNotFound"])
@pytest.mark.parametrize(
    ("uri", "want_again"), [("s3://data/r.jsonl.dvc", True), ("s3://data/r.jsonl", False)]
)
def test_data_behind_a_pointer_is_not_seen_so_that_it_is_tried_again_by_time(
    uri: str, want_again: bool, reason: str
) -> None:
    subject = make_subject(dataset={"source": uri})
    job = JobBuilder(subject, "prepare").failed(seconds_ago=301).with_pod(refused_by(reason))

    plan = plan_of(subject, prepare=job.state(), inputs=FINGERPRINT)

    assert plan.deletes == (((JOBS, "bot-prepare"),) if want_again else ())


@pytest.mark.parametrize(
    ("pods", "want_reason", "want_words"),
    [
        pytest.param([ended_pod("prepare", 1)], "PrepareFailed", "exit code 1", id="a crash"),
        pytest.param(
            [ended_pod("prepare", 137, reason="OOMKilled")], "OutOfMemory", "4Gi", id="out of memory"
        ),
        pytest.param([], "PrepareFailed", "Job has reached", id="the pods are gone"),
        pytest.param(
            [ended_pod("prepare", 143, conditions=(disruption(),))],
            "PrepareFailed",
            "It was disrupted.",
            id="disrupted too often",
        ),
    ],
)
def test_a_prepare_job_that_failed_otherwise(
    pods: list[dict[str, Any]], want_reason: str, want_words: str
) -> None:
    subject = make_subject()
    job = JobBuilder(subject, "prepare").failed(message="Job has reached the specified backoff limit")
    for pod in pods:
        job.with_pod(pod)

    plan = plan_of(subject, prepare=job.state(), inputs=FINGERPRINT)

    assert conditions_of(plan)["DatasetReady"]["reason"] == want_reason
    assert want_words in conditions_of(plan)["DatasetReady"]["message"]
    assert phase_of(plan) == "Blocked"


def test_prepare_waits_for_the_pod_of_a_deleted_job() -> None:
    plan = plan_of(make_subject(), inputs=FINGERPRINT, strays=("bot-prepare-x",))

    assert plan.objects == ()
    assert "bot-prepare-x" in conditions_of(plan)["DatasetReady"]["message"]
    assert plan.requeue_after is not None


def test_a_prepare_pod_that_waits_for_the_hub_says_so() -> None:
    job = JobBuilder(make_subject(), "prepare").with_pod(running_pod("prepare"))
    waits = make_report(outage="hub.example does not answer: connection refused")

    plan = plan_of(make_subject(), prepare=job.state(), prepare_report=waits)

    found = conditions_of(plan)["DatasetReady"]
    assert found["reason"] == "StorageUnavailable"
    assert "connection refused." in found["message"]
    assert plan.requeue_after == 10.0
    assert plan.event is not None
    assert plan.event.type == "Warning"


@pytest.mark.parametrize(
    ("model", "age", "want"),
    [
        ("hf://example/base", 0, 9.0),
        ("hf://example/base", 3, 6.0),
        ("hf://example/base", 9, 10.0),
        ("s3://garden/base", 9, 51.0),
        ("s3://garden/base", 60, 10.0),
    ],
)
def test_a_prepare_pod_is_looked_at_when_it_has_run_for_a_moment_and_now_and_then(
    model: str, age: float, want: float
) -> None:
    subject = make_subject(model={"source": model})
    job = JobBuilder(subject, "prepare").with_pod(running_pod("prepare", started=age))

    assert plan_of(subject, prepare=job.state()).requeue_after == want


def test_a_pod_that_the_kubelet_cannot_start_is_told() -> None:
    subject = make_subject()
    job = JobBuilder(subject, "prepare").with_pod(make_pod("prepare")).state()
    stuck = Problem("StartFailed", "Pod bot-pod-1 does not start: FailedCreatePodSandBox: too little memory")

    plan = plan_of(subject, prepare=replace(job, stuck=stuck))

    found = conditions_of(plan)["DatasetReady"]
    assert (found["status"], found["reason"]) == ("False", "StartFailed")
    assert "FailedCreatePodSandBox" in found["message"]
    assert phase_of(plan) == "Preparing"
    assert plan.requeue_after is not None
    assert plan.event is not None
    assert plan.event.type == "Warning"


@pytest.mark.parametrize(
    ("uri", "again"), [("s3://data/rows.jsonl", False), ("hf://acme/rows", True)], ids=["seen", "not seen"]
)
def test_a_dataset_that_the_operator_does_not_see_is_prepared_again_in_a_while(uri: str, again: bool) -> None:
    subject = make_subject(dataset={"source": uri}, conditions=(condition("Accepted", "True", "Accepted"),))
    job = JobBuilder(subject, "prepare").with_pod(refused_by("DatasetInvalid"))

    early = plan_of(subject, prepare=job.failed(seconds_ago=299).state(), inputs=FINGERPRINT)
    late = plan_of(subject, prepare=job.failed(seconds_ago=301).state(), inputs=FINGERPRINT)

    assert conditions_of(early)["DatasetReady"]["reason"] == "DatasetInvalid"
    assert ("every 5 minutes" in conditions_of(early)["DatasetReady"]["message"]) == again
    assert (late.deletes == ((JOBS, "bot-prepare"),)) == again


def test_hub_tokens_of_the_sources_reach_the_prepare_pod_alone() -> None:
    sources = [{"uri": "s3://data/a"}, {"uri": "hf://acme/b", "tokenSecretRef": {"name": "acme"}}]
    subject = make_subject(dataset={"sources": sources})

    def variables(job: dict[str, Any]) -> dict[str, Any]:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        return {one["name"]: one.get("valueFrom") for one in container["env"]}

    wanted = {"secretKeyRef": {"name": "acme", "key": "HF_TOKEN"}}
    prepare = variables(prepare_job(subject, SETTINGS, inputs_hash="x"))
    assert prepare["MODELGARDEN_SOURCE_1_HF_TOKEN"] == wanted
    assert not any("HF_TOKEN" in name for name in variables(train_job(subject, SETTINGS)))


def test_a_dry_run_completes_with_the_dataset_and_without_a_training() -> None:
    subject = make_subject(dryRun=True, ttlSecondsAfterFinished=60)
    ended = ended_pod(
        "prepare", 0, message=TerminationMessage(reason="DatasetReady", message="x", dataset=make_dataset())
    )

    plan = plan_of(subject, prepare=JobBuilder(subject, "prepare").with_pod(ended).complete().state())

    found = conditions_of(plan)
    assert (found["Complete"]["status"], found["Complete"]["reason"]) == ("True", "DryRun")
    assert found["DatasetReady"]["status"] == "True"
    assert not {"Running", "ArtifactRegistered", "Failed"} & found.keys()
    assert plan.objects == ()
    assert phase_of(plan) == "Complete"
    assert plan.status is not None
    assert plan.status["dataset"]["trainingRows"] == 100
    assert plan.status["completionTime"] == stamp()
    assert plan.requeue_after == 60
    assert plan.event is not None
    assert (plan.event.type, plan.event.reason) == ("Normal", "DryRun")
    after = plan_of(written_status(subject, plan.status))
    assert (after.objects, after.status) == ((), plan.status)


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_dry_run_points_to_the_estimate_only_where_there_is_one(gpus: int) -> None:
    subject = make_subject(dryRun=True, resources={"gpus": gpus, "cpu": "4", "memory": "16Gi"})
    said = TerminationMessage(reason="DatasetReady", message="x", dataset=make_dataset(), needs=make_needs())
    job = JobBuilder(subject, "prepare").with_pod(ended_pod("prepare", 0, message=said)).complete()

    plan = plan_of(subject, prepare=job.state())

    assert plan.status is not None
    assert ("estimate" in plan.status) == bool(gpus)
    assert ("status.estimate" in conditions_of(plan)["Complete"]["message"]) == bool(gpus)


def test_a_dry_run_says_what_is_wrong_with_the_dataset_as_any_job_does() -> None:
    subject = make_subject(dryRun=True)
    job = JobBuilder(subject, "prepare").with_pod(refused_by("DatasetInvalid")).failed()

    found = conditions_of(plan_of(subject, prepare=job.state(), inputs=FINGERPRINT))

    assert found["DatasetReady"]["reason"] == "DatasetInvalid"
    assert "Complete" not in found


def test_a_host_that_is_not_allowed_is_refused_with_the_setting_that_allows_it() -> None:
    uris = ("s3://data/a", "hf://org/name", "https://data.example.org/a.jsonl")

    refused = refused_host(uris, ("other.example.org",))

    assert refused is not None
    assert refused.reason == "AccessDenied"
    assert (
        "data.example.org is none of the hosts that datasets may come from (other.example.org)"
        in refused.message
    )
    assert "dataset.allowedHosts" in refused.message
    assert refused_host(uris, ("*.example.org",)) is None
