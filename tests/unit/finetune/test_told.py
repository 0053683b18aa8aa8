"""What a FineTuneJob tells and does in each situation, word by word: people and their tools go by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from syrupy.assertion import SnapshotAssertion

from modelgarden.api.conditions import Problem
from modelgarden.api.finetunejob import AttemptStatus
from modelgarden.api.pods import TerminationMessage
from modelgarden.controller.plan import Plan
from modelgarden.finetune.plan import unreadable
from modelgarden.finetune.subject import Subject
from tests.unit.builders import (
    FINGERPRINT,
    NOW,
    JobBuilder,
    StepName,
    condition,
    ended_pod,
    make_dataset,
    make_parent,
    make_pod,
    make_registration,
    make_report,
    make_subject,
    ready,
    running_pod,
    stamp,
    unschedulable_pod,
    with_status,
)
from tests.unit.finetune.plans import plan_of
from tests.unit.told import told

QUEUED = {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}
SUSPENDED = condition("Suspended", "True", "Suspended")
NEW = make_subject()
HELD = make_subject(suspend=True)
CONTINUED = make_subject(model={"fineTuneJobRef": {"name": "first"}})
PREPARED = make_subject(conditions=ready())
PREPARED_AND_HELD = make_subject(suspend=True, conditions=ready(SUSPENDED))
AWAY = Problem("StorageUnavailable", "s3.test does not answer")
STUCK = Problem("StartFailed", "Pod bot-pod-1 does not start: FailedMount: no such secret")
Situation = Callable[[], Plan]


def job(subject: Subject, step: StepName, *pods: dict[str, object]) -> JobBuilder:
    builder = JobBuilder(subject, step)
    for pod in pods:
        builder.with_pod(pod)
    return builder


def preparing(subject: Subject, *pods: dict[str, object], **seen: object) -> Plan:
    return plan_of(subject, prepare=job(subject, "prepare", *pods).state(), **seen)


def refused(reason: str, *, source: str = "s3://models/tiny") -> Plan:
    subject = make_subject(model={"source": source})
    pod = ended_pod("prepare", 64, message=TerminationMessage(reason=reason, message="So it is"))
    return plan_of(subject, prepare=job(subject, "prepare", pod).failed().state(), inputs=FINGERPRINT)


def training(subject: Subject, *pods: dict[str, object], **seen: object) -> Plan:
    return plan_of(subject, train=job(subject, "train", *pods).state(), **seen)


def failed(reason: str, *pods: dict[str, object], message: str = "Job has failed") -> Plan:
    return plan_of(PREPARED, train=job(PREPARED, "train", *pods).failed(reason, message=message).state())


def trained(registration: object, *, subject: Subject = PREPARED) -> Plan:
    done = job(subject, "train", ended_pod("train", 0)).complete()
    return plan_of(subject, train=done.state(), registration=registration)


def prepared(*pods: dict[str, object], **seen: object) -> Plan:
    return plan_of(NEW, prepare=job(NEW, "prepare", *pods).complete().state(), **seen)


def after_deadline() -> Plan:
    subject = with_status(make_subject(activeDeadlineSeconds=100, conditions=ready()), start_time=stamp(100))
    return training(subject, running_pod("train"))


def suspended_by_us() -> Plan:
    held = job(PREPARED, "train").suspended_by_operator()
    return plan_of(make_subject(podTemplate=QUEUED, conditions=ready()), train=held.state())


def unseen_end() -> Plan:
    """A training whose pods, and with them what they said, are gone before the Job was seen to fail."""
    attempt = AttemptStatus(pod="gone", start_time=stamp(60), end_time=stamp(5), message="KeyError: 'x'")
    subject = with_status(PREPARED, attempts=(attempt,))
    return plan_of(subject, train=job(subject, "train").failed("PodFailurePolicy", message="").state())


SITUATIONS: dict[str, Situation] = {
    "the spec cannot be read": lambda: unreadable(
        PREPARED.status, generation=2, message="spec.method: Input should be 'LoRA'.", now=NOW
    ),
    "a secret is missing": lambda: plan_of(NEW, inputs=Problem("SecretNotFound", "Create secret 's3'.")),
    "an earlier result is trained": lambda: plan_of(
        CONTINUED, parent=Problem("WaitingForFineTuneJob", "FineTuneJob 'first' has no artifact yet.")
    ),
    "an earlier result failed": lambda: plan_of(
        CONTINUED, parent=Problem("FineTuneJobFailed", "FineTuneJob 'first' has failed.")
    ),
    "an earlier result is found": lambda: plan_of(CONTINUED, parent=make_parent()),
    "accepted with an earlier result": lambda: plan_of(
        with_status(CONTINUED, parent=make_parent()), inputs=FINGERPRINT
    ),
    "accepted": lambda: plan_of(NEW, inputs=FINGERPRINT),
    "accepted while suspended": lambda: plan_of(HELD, inputs=FINGERPRINT),
    "a prepare pod of an earlier Job still runs": lambda: plan_of(NEW, inputs=FINGERPRINT, strays=("old",)),
    "prepare: suspended": lambda: preparing(HELD, running_pod("prepare")),
    "prepare: waits for its queue": lambda: plan_of(
        NEW, prepare=job(NEW, "prepare").in_queue("gpus").suspended().state(), inputs=FINGERPRINT
    ),
    "prepare: no pod yet": lambda: preparing(NEW),
    "prepare: no node": lambda: preparing(NEW, unschedulable_pod("prepare")),
    "prepare: no node for a moment": lambda: preparing(NEW, unschedulable_pod("prepare", seconds_ago=4)),
    "prepare: runs": lambda: preparing(NEW, running_pod("prepare")),
    "prepare: waits for storage": lambda: preparing(
        NEW, running_pod("prepare"), prepare_report=make_report(outage="the hub does not answer")
    ),
    "prepare: an attempt failed": lambda: preparing(NEW, ended_pod("prepare", 1)),
    "prepare: an attempt failed and the next one runs": lambda: preparing(
        NEW, ended_pod("prepare", 1, name="a"), running_pod("prepare", name="b")
    ),
    "prepare: an attempt found a wrong input": lambda: preparing(
        NEW, ended_pod("prepare", 64, message=TerminationMessage(reason="DatasetInvalid", message="Line 3"))
    ),
    "prepare: the dataset is wrong": lambda: refused("DatasetInvalid"),
    "prepare: the model in S3 is wrong": lambda: refused("ModelInvalid"),
    "prepare: the model in a hub is wrong": lambda: refused("ModelInvalid", source="hf://org/name"),
    "prepare: the image is too old": lambda: refused("UpgradeNeeded"),
    "prepare: another reason": lambda: refused("AccessDenied"),
    "prepare: failed and its pods are gone": lambda: plan_of(
        NEW, prepare=job(NEW, "prepare").failed().state(), inputs=FINGERPRINT
    ),
    "prepare: failed with the Job's words": lambda: plan_of(
        NEW, prepare=job(NEW, "prepare").failed(message="Job has failed").state(), inputs=FINGERPRINT
    ),
    "prepare: starts again": lambda: plan_of(
        NEW, prepare=job(NEW, "prepare", ended_pod("prepare", 1)).failed().state(), inputs="other"
    ),
    "prepared, and its pod said what it found": lambda: prepared(
        ended_pod(
            "prepare", 0, message=TerminationMessage(reason="Completed", message="", dataset=make_dataset())
        )
    ),
    "prepared, and nothing is known of what it found": prepared,
    "train: starts": lambda: plan_of(PREPARED),
    "train: suspended before it starts": lambda: plan_of(PREPARED_AND_HELD),
    "train: a pod of an earlier Job still runs": lambda: plan_of(PREPARED, strays=("old",)),
    "train: suspended": lambda: training(PREPARED_AND_HELD, running_pod("train")),
    "train: suspended in a queue": lambda: training(
        make_subject(suspend=True, podTemplate=QUEUED, conditions=ready()), running_pod("train")
    ),
    "train: resumed": lambda: plan_of(
        make_subject(conditions=ready(SUSPENDED)),
        train=job(PREPARED, "train").suspended_by_operator().state(),
    ),
    "train: waits for its queue": lambda: plan_of(
        PREPARED, train=job(PREPARED, "train").in_queue("gpus").suspended().state()
    ),
    "train: somebody suspended its Job": lambda: plan_of(
        PREPARED, train=job(PREPARED, "train").suspended().state()
    ),
    "train: goes on in a moment": suspended_by_us,
    "train: no pod yet": lambda: training(PREPARED),
    "train: no pod may be made": lambda: plan_of(
        PREPARED, train=replace(job(PREPARED, "train").state(), refusal="exceeded quota: gpus")
    ),
    "train: the pod starts": lambda: training(PREPARED, make_pod("train")),
    "train: the kubelet cannot start the pod": lambda: plan_of(
        PREPARED, train=replace(job(PREPARED, "train", make_pod("train")).state(), stuck=STUCK)
    ),
    "train: no node": lambda: training(PREPARED, unschedulable_pod("train")),
    "train: no node for five seconds": lambda: training(PREPARED, unschedulable_pod("train", seconds_ago=5)),
    "train: runs": lambda: training(PREPARED, running_pod("train"), report=make_report()),
    "train: storage is away before the first checkpoint": lambda: training(
        PREPARED, running_pod("train"), report=make_report(outage="s3.test does not answer")
    ),
    "train: an attempt was stopped": lambda: training(PREPARED, ended_pod("train", 143)),
    "train: an attempt found a wrong input": lambda: training(PREPARED, ended_pod("train", 64)),
    "train: ended well, and the Job does not know yet": lambda: training(PREPARED, ended_pod("train", 0)),
    "train: failed too often": lambda: failed("BackoffLimitExceeded", ended_pod("train", 1)),
    "train: failed too often for want of memory": lambda: failed(
        "BackoffLimitExceeded", ended_pod("train", 137, reason="OOMKilled")
    ),
    "train: failed at once": lambda: failed(
        "PodFailurePolicy",
        ended_pod("train", 64, message=TerminationMessage(reason="InvalidConfiguration", message="So it is")),
    ),
    "train: failed and its pods are gone": lambda: failed("BackoffLimitExceeded", message=""),
    "train: failed, and its pods were gone before": unseen_end,
    "train: somebody gave the Job a deadline": lambda: failed("DeadlineExceeded", running_pod("train")),
    "the deadline has passed": after_deadline,
    "train: the Job is gone and S3 is away": lambda: plan_of(PREPARED, registration=AWAY),
    "train: the Job is gone and there is no artifact": lambda: plan_of(
        make_subject(conditions=ready(condition("ArtifactRegistered", "False", "StorageUnavailable")))
    ),
    "train: the Job is gone and the artifact is damaged": lambda: plan_of(
        PREPARED, registration=Problem("ArtifactInvalid", "A file is missing.")
    ),
    "registering": lambda: trained(None),
    "registering: storage is away": lambda: trained(AWAY),
    "registering: a newer version has written there": lambda: trained(
        Problem("UpgradeNeeded", "Upgrade the operator.")
    ),
    "registering: the artifact is damaged": lambda: trained(Problem("ArtifactInvalid", "A file is missing.")),
    "registered": lambda: trained(make_registration(PREPARED, version=3)),
    "registered, with a time to live": lambda: trained(
        make_registration(PREPARED), subject=make_subject(ttlSecondsAfterFinished=60, conditions=ready())
    ),
    "over": lambda: plan_of(make_subject(conditions=ready(condition("Complete", "True", "Succeeded")))),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_is_told(situation: str, snapshot: SnapshotAssertion) -> None:
    assert told(SITUATIONS[situation]()) == snapshot
