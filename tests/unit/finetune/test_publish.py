"""Publishing: after the end, for as long as it takes, and without a word against what is registered."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden.api.conditions import Condition, Problem
from modelgarden.api.finetunejob import HubStatus
from modelgarden.api.pods import PublishConfig, RunConfig, TerminationMessage
from modelgarden.finetune.manifests.prepare import prepare_job
from modelgarden.finetune.manifests.publish import publish_job
from modelgarden.finetune.manifests.train import train_job
from modelgarden.finetune.plan import LONGEST_WAIT_SECONDS
from modelgarden.finetune.steps.publish import FIRST_RETRY_SECONDS
from modelgarden.finetune.subject import Subject
from modelgarden.kube.resources import FINETUNEJOBS, JOBS
from tests.unit.builders import (
    FINGERPRINT,
    SETTINGS,
    JobBuilder,
    condition,
    ended_pod,
    make_emissions,
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

HUB: dict[str, Any] = {"repository": "org/bot", "tokenSecretRef": {"name": "hub"}}
OUTPUT: dict[str, Any] = {"uri": "s3://garden/root", "modelName": "bot", "hub": HUB}
FOUND = HubStatus(url="https://huggingface.co/org/bot", commit="0123abc")
COMPLETE = condition("Complete", "True", "Succeeded")


def completed(*more: Condition, seconds_ago: float = 60, **spec: Any) -> Subject:
    """Return a job that is registered and not published yet."""
    subject = make_subject(output=OUTPUT, conditions=ready(COMPLETE, *more), **spec)
    artifact = make_registration(subject, version=3).artifact
    return with_status(
        subject,
        artifact=artifact,
        completion_time=stamp(seconds_ago),
        carbon=make_emissions(reason="Completed"),
    )


def refused(
    subject: Subject, reason: str = "AccessDenied", *, seconds_ago: float = 1, exit_code: int = 64
) -> JobBuilder:
    message = TerminationMessage(reason=reason, message="The token only reads")
    job = JobBuilder(subject, "publish").with_pod(ended_pod("publish", exit_code, message=message))
    return job.failed("PodFailurePolicy", seconds_ago=seconds_ago)


def test_a_queue_that_holds_the_job_back_is_told_and_nothing_is_wrong() -> None:
    subject = completed()

    plan = plan_of(subject, publish=JobBuilder(subject, "publish").in_queue("gpus").suspended().state())

    assert conditions_of(plan)["Published"]["reason"] == "Queued"
    assert plan.event is not None
    assert (plan.event.type, plan.event.reason) == ("Normal", "Queued")


def test_a_registered_artifact_is_published_with_the_next_look() -> None:
    subject = make_subject(output=OUTPUT, conditions=ready())
    done = JobBuilder(subject, "train").with_pod(ended_pod("train", 0)).complete()

    registered = plan_of(subject, train=done.state(), registration=make_registration(subject))

    assert phase_of(registered) == "Complete"
    found = conditions_of(registered)
    assert (found["Complete"]["status"], found["Published"]["reason"]) == ("True", "Publishing")
    assert names_of(registered) == []
    assert registered.requeue_after == 0

    after = written_status(subject, registered.status)
    started = plan_of(after, publish_inputs=FINGERPRINT)

    assert names_of(started) == ["bot-publish"]
    assert phase_of(started) == "Complete"
    assert conditions_of(started)["Published"]["status"] == "False"
    assert started.event is not None
    assert started.event.type == "Normal"


def test_without_a_hub_nothing_follows_the_end() -> None:
    subject = make_subject(conditions=ready(COMPLETE))

    plan = plan_of(subject)

    assert "Published" not in conditions_of(plan)
    assert not plan.objects


def test_a_dry_run_publishes_nothing() -> None:
    dry = make_subject(output=OUTPUT, dryRun=True, conditions=ready(condition("Complete", "True", "DryRun")))

    plan = plan_of(dry, publish_inputs=FINGERPRINT)

    assert not plan.objects
    assert "Published" not in conditions_of(plan)


def test_a_job_that_failed_publishes_nothing() -> None:
    failed = make_subject(output=OUTPUT, conditions=ready(condition("Failed", "True", "TrainingFailed")))

    plan = plan_of(failed, publish_inputs=FINGERPRINT)

    assert not plan.objects
    assert phase_of(plan) == "Failed"


def test_what_the_pod_published_is_in_the_status() -> None:
    subject = completed(condition("Published", "False", "Publishing"))
    said = TerminationMessage(reason="Published", message="done", hub=FOUND)
    job = JobBuilder(subject, "publish").with_pod(ended_pod("publish", 0, message=said)).complete()

    plan = plan_of(subject, publish=job.state())

    assert plan.status is not None
    assert plan.status["hub"] == FOUND.to_dict()
    published = conditions_of(plan)["Published"]
    assert published["status"] == "True"
    assert published["message"] == "bot version 3 is at https://huggingface.co/org/bot at commit 0123abc."
    assert plan.event is not None
    assert (plan.event.type, plan.event.reason) == ("Normal", "Published")
    assert plan.requeue_after is None

    # And that is the end of it.
    over = plan_of(written_status(subject, plan.status), publish=job.state())
    assert over.status == plan.status
    assert not over.objects


def test_a_pod_that_is_gone_before_it_was_heard_has_published_all_the_same() -> None:
    subject = completed()

    plan = plan_of(subject, publish=JobBuilder(subject, "publish").complete().state())

    assert plan.status is not None
    assert plan.status["hub"] == {"url": "https://huggingface.co/org/bot"}
    assert conditions_of(plan)["Published"]["status"] == "True"


def test_a_token_without_rights_is_told_and_changes_nothing_else() -> None:
    subject = completed()

    plan = plan_of(subject, publish=refused(subject).state(), publish_inputs=FINGERPRINT)

    found = conditions_of(plan)
    assert found["Published"]["reason"] == "AccessDenied"
    assert "The token only reads." in found["Published"]["message"]
    assert "when a secret changes, and after 5 minutes" in found["Published"]["message"]
    assert (found["Complete"]["status"], phase_of(plan)) == ("True", "Complete")
    assert plan.event is not None
    assert (plan.event.type, plan.event.reason) == ("Warning", "AccessDenied")
    assert not plan.deletes


def test_a_mended_secret_starts_it_again() -> None:
    subject = completed()
    job = refused(subject).state()

    plan = plan_of(subject, publish=job, publish_inputs="another")

    assert plan.deletes == ((JOBS, "bot-publish"),)
    assert conditions_of(plan)["Published"]["reason"] == "Publishing"


@pytest.mark.parametrize(
    ("complete_for", "failed_for", "again"),
    [
        (60, FIRST_RETRY_SECONDS - 1, False),
        (60, FIRST_RETRY_SECONDS, True),
        (4000, 1999, False),
        (4000, 2000, True),
        (100_000, 3599, False),
        (100_000, 3600, True),
    ],
)
def test_what_is_refused_is_tried_again_with_a_growing_wait(
    complete_for: float, failed_for: float, again: bool
) -> None:
    subject = completed(seconds_ago=complete_for)

    plan = plan_of(
        subject, publish=refused(subject, seconds_ago=failed_for).state(), publish_inputs=FINGERPRINT
    )

    assert bool(plan.deletes) == again


def test_an_old_image_waits_for_another() -> None:
    subject = completed()
    long_ago = refused(subject, "UpgradeNeeded", seconds_ago=100_000)

    waits = plan_of(subject, publish=long_ago.state(), publish_inputs=FINGERPRINT)

    assert not waits.deletes
    assert "with another image" in conditions_of(waits)["Published"]["message"]
    long_ago.body["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/train:0"
    assert plan_of(subject, publish=long_ago.state(), publish_inputs=FINGERPRINT).deletes


@pytest.mark.parametrize("job", [None, "refused"])
def test_a_secret_that_is_gone_is_waited_for(job: str | None) -> None:
    subject = completed()
    gone = Problem("SecretNotFound", "Secret 'hub' does not exist.")

    plan = plan_of(subject, publish=refused(subject).state() if job else None, publish_inputs=gone)

    found = conditions_of(plan)["Published"]
    assert found["reason"] == "SecretNotFound"
    assert "once this is mended" in found["message"]
    assert not plan.objects
    assert not plan.deletes
    assert plan.requeue_after is not None


def test_a_hub_that_is_away_is_told_while_the_pod_waits() -> None:
    subject = completed()
    job = JobBuilder(subject, "publish").with_pod(running_pod("publish"))

    plan = plan_of(subject, publish=job.state(), publish_report=make_report(outage="The hub is silent"))

    found = conditions_of(plan)["Published"]
    assert found["reason"] == "StorageUnavailable"
    assert "The hub is silent." in found["message"]
    back = plan_of(subject, publish=job.state(), publish_report=make_report())
    assert conditions_of(back)["Published"]["reason"] == "Publishing"


def test_an_attempt_that_gave_up_on_the_hub_is_told_until_the_next_has_ended() -> None:
    subject = completed()
    said = TerminationMessage(reason="StorageUnavailable", message="The hub failed for 1800 s")
    job = JobBuilder(subject, "publish").with_pod(ended_pod("publish", 75, message=said, name="a"))

    between = conditions_of(plan_of(subject, publish=job.state()))["Published"]
    job.with_pod(running_pod("publish", name="b"))
    again = conditions_of(plan_of(subject, publish=job.state()))["Published"]

    for found in (between, again):
        assert found["reason"] == "StorageUnavailable"
        assert "The hub failed for 1800 s. The publish Job tries again." in found["message"]


def test_a_pod_without_a_node_is_told() -> None:
    subject = completed()
    job = JobBuilder(subject, "publish").with_pod(unschedulable_pod("publish"))

    assert conditions_of(plan_of(subject, publish=job.state()))["Published"]["reason"] == "Unschedulable"


def test_a_suspended_job_publishes_when_it_is_resumed() -> None:
    subject = completed(suspend=True)
    job = JobBuilder(subject, "publish").with_pod(running_pod("publish"))

    held = plan_of(subject, publish=job.state())

    assert held.deletes == ((JOBS, "bot-publish"),)
    assert conditions_of(held)["Published"]["reason"] == "Suspended"
    assert held.event is not None
    assert held.event.type == "Normal"
    assert not plan_of(subject, publish_inputs=FINGERPRINT).objects
    assert names_of(plan_of(completed(), publish_inputs=FINGERPRINT)) == ["bot-publish"]


def test_a_job_outlives_its_time_until_it_is_published() -> None:
    waiting = completed(ttlSecondsAfterFinished=60, seconds_ago=1000)

    plan = plan_of(waiting, publish=refused(waiting).state(), publish_inputs=FINGERPRINT)

    assert (FINETUNEJOBS, "bot") not in plan.deletes
    published = condition("Published", "True", "Published", seconds_ago=59)
    kept = plan_of(completed(published, ttlSecondsAfterFinished=60, seconds_ago=1000))
    assert not kept.deletes
    assert kept.requeue_after == pytest.approx(1)
    gone = condition("Published", "True", "Published", seconds_ago=60)
    over = plan_of(completed(gone, ttlSecondsAfterFinished=60, seconds_ago=1000))
    assert over.deletes == ((FINETUNEJOBS, "bot"),)
    assert LONGEST_WAIT_SECONDS >= 60


def test_a_publish_job_that_the_api_server_takes_at_last_is_accepted_again() -> None:
    """A refused child is told as Accepted=False, which nothing else takes back after the end."""
    subject = completed()
    refused_before = tuple(
        condition("Accepted", "False", "ApplyRejected") if one.type == "Accepted" else one
        for one in subject.status.conditions
    )

    plan = plan_of(with_status(subject, conditions=refused_before), publish_inputs=FINGERPRINT)

    assert conditions_of(plan)["Accepted"]["status"] == "True"


def environment(job: dict[str, Any]) -> dict[str, Any]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one for one in container["env"]}


def test_the_pods_that_speak_to_the_hub_and_no_other_have_its_token() -> None:
    subject = completed()
    artifact = make_registration(subject, version=3).artifact
    token = {"secretKeyRef": {"name": "hub", "key": "HF_TOKEN"}}

    publishing = publish_job(subject, SETTINGS, artifact, inputs_hash=FINGERPRINT)
    preparing = prepare_job(subject, SETTINGS, inputs_hash=FINGERPRINT)

    assert environment(publishing)["MODELGARDEN_OUTPUT_HF_TOKEN"]["valueFrom"] == token
    assert environment(preparing)["MODELGARDEN_OUTPUT_HF_TOKEN"]["valueFrom"] == token
    assert "MODELGARDEN_OUTPUT_HF_TOKEN" not in environment(train_job(subject, SETTINGS))


def test_a_publish_pod_is_told_what_was_registered_and_takes_no_gpu() -> None:
    subject = completed(resources={"gpus": 2, "cpu": "8", "memory": "64Gi"})
    many = {f"attempt-{number}": 100 for number in range(30)}
    subject = with_status(subject, carbon=make_emissions(many, reason="Completed"))
    artifact = make_registration(subject, version=3).artifact

    job = publish_job(subject, SETTINGS, artifact, inputs_hash=FINGERPRINT)

    config = PublishConfig.model_validate_json(environment(job)["MODELGARDEN_CONFIG"]["value"])
    assert (config.version, config.manifest_sha256) == (3, artifact.manifest_sha256)
    assert config.emissions is not None
    assert config.emissions.energy_joules.total == 3000
    assert len(config.emissions.attempts) == 8
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "500m", "memory": "2Gi"},
        "limits": {"memory": "2Gi"},
    }
    assert container["args"] == ["publish"]


def test_only_a_job_with_a_hub_needs_a_trainer_that_knows_hubs() -> None:
    def version(subject: Subject) -> str:
        text = environment(train_job(subject, SETTINGS))["MODELGARDEN_CONFIG"]["value"]
        assert RunConfig.model_validate_json(text).hub == subject.spec.output.hub
        return str(RunConfig.model_validate_json(text).schema_version)

    assert version(completed()) == "7.0"
    assert version(make_subject()) == "2.0"
