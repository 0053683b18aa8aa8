"""What Jobs and pods say, garbage included."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgarden.api.conditions import REASONS
from modelgarden.api.pods import TerminationMessage
from modelgarden.finetune.programs import TRAIN
from modelgarden.workloads.pods import pod_state
from tests.unit.builders import (
    PROGRAMS,
    JobBuilder,
    disruption,
    ended_pod,
    make_pod,
    make_subject,
    running_pod,
    unschedulable_pod,
)


def said(reason: str, message: str = "Row 17 lacks completion.") -> TerminationMessage:
    return TerminationMessage(reason=reason, message=message)


@pytest.mark.parametrize(
    ("pod", "want_reason", "want_words"),
    [
        pytest.param(
            ended_pod("prepare", 64, message=said("DatasetInvalid")), "DatasetInvalid", "Row 17",
            id="a user error is told in the pod's words",
        ),
        pytest.param(
            ended_pod("train", 64, message='{"reason": "DatasetInv'), "TrainingFailed", "exit code 64",
            id="a broken message falls back to the exit code",
        ),
        pytest.param(
            ended_pod("train", 64, message=said("UpgradeNeeded", "Upgrade the train image.")),
            "UpgradeNeeded", "Upgrade the train image.",
            id="an image that is too old says so",
        ),
        pytest.param(
            ended_pod("train", 64, message='{"schemaVersion": "2.0"}'), "UpgradeNeeded", "Upgrade the operator's image",
            id="a message of a newer image says what to upgrade",
        ),
        pytest.param(
            ended_pod("train", 64, message=said("Succeeded")), "TrainingFailed", "exit code 64",
            id="a failing pod cannot claim success",
        ),
        pytest.param(
            ended_pod("train", 1, message="Traceback (most recent call last)\nKeyError: 'x'"),
            "TrainingFailed", "KeyError: 'x'",
            id="a crash shows what the image left, on one line",
        ),
        pytest.param(
            ended_pod("train", 64, message=said("TrainingFailed", "The loss is not a number; lower learningRate.")),
            "TrainingFailed", "lower learningRate.",
            id="wrong input without a reason of its own keeps the pod's words",
        ),
        pytest.param(
            ended_pod("train", 1, message=said("TrainingFailed", "KeyError: 'x'")),
            "TrainingFailed", "see kubectl logs",
            id="a crash also says where to look",
        ),
        pytest.param(
            ended_pod("train", 75), "StorageUnavailable", "unavailable",
            id="exit code 75 means storage even without a word",
        ),
        pytest.param(
            ended_pod("train", 143, message=said("Terminated", "Checkpoint 40 is written.")),
            "Terminated", "Checkpoint 40",
            id="exit code 143 is a stop after a checkpoint",
        ),
        pytest.param(
            ended_pod("train", 137, reason="OOMKilled"), "OutOfMemory", "limit of 4Gi",
            id="the kernel's kill names the memory limit",
        ),
        pytest.param(
            ended_pod("train", 64, message=said("OutOfMemory", "Needs 31 GiB, the GPU has 24 GiB.")),
            "OutOfMemory", "31 GiB",
            id="the trainer's own out of memory keeps its arithmetic",
        ),
        pytest.param(
            ended_pod("train", 137, conditions=(disruption(),)), "PreemptionByScheduler", "disrupted",
            id="a preempted pod says so",
        ),
        pytest.param(
            ended_pod(
                "train", 137, conditions=({**disruption("TerminationByKubelet"), "message": "The node was low on disk."},)
            ),
            "TerminationByKubelet", "The node was low on disk.",
            id="a pod that left no word has those of whoever ended it",
        ),
        pytest.param(
            ended_pod("train", 1, message=said("Stalled", "Silent for 1800 s.")), "Stalled", "Silent for 1800 s.",
            id="a training that stalled says so",
        ),
        pytest.param(
            make_pod("train", phase="Failed", reason="Evicted", message="The node was low on memory."),
            "Evicted", "low on memory",
            id="a pod that the node evicted has no container to ask",
        ),
        pytest.param(
            ended_pod("train", 0), "Completed", "ended well",
            id="exit code 0 is an end without a word",
        ),
    ],
)  # fmt: skip
def test_the_end_of_a_pod(pod: dict[str, object], want_reason: str, want_words: str) -> None:
    containers = pod["spec"]["containers"]  # type: ignore[index]
    ending = pod_state(pod, PROGRAMS[containers[0]["name"]]).ending

    assert ending is not None
    assert ending.reason == want_reason
    assert want_words in ending.message
    assert "\n" not in ending.message


def test_a_failed_end_always_has_a_reason_of_the_closed_list() -> None:
    pod = make_pod("train", phase="Failed", reason="NodeShutdown", message="Pod was terminated.")

    ending = pod_state(pod, TRAIN).ending

    assert ending is not None
    assert ending.reason == "NodeShutdown"
    assert ending.problem(TRAIN).reason in REASONS


@pytest.mark.parametrize(
    ("pod", "want_reason", "want_words"),
    [
        pytest.param(unschedulable_pod("train"), "Unschedulable", "Insufficient nvidia.com/gpu", id="no node has room"),
        pytest.param(
            make_pod("train", state={"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}),
            "ImagePullFailed", "registry.example/train:1",
            id="the image cannot be pulled",
        ),
        pytest.param(
            make_pod(
                "train",
                state={"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "s3" not found'}},
            ),
            "SecretNotFound", 'secret "s3" not found',
            id="the secret was removed",
        ),
        pytest.param(
            make_pod(
                "train",
                state={
                    "waiting": {
                        "reason": "CreateContainerConfigError",
                        "message": "couldn't find key AWS_SECRET_ACCESS_KEY in Secret team/s3",
                    }
                },
            ),
            "SecretInvalid", "AWS_SECRET_ACCESS_KEY",
            id="the secret lost a key",
        ),
        pytest.param(
            make_pod("train", state={"waiting": {"reason": "RunContainerError", "message": "no such file"}}),
            "StartFailed", "no such file",
            id="the runtime cannot start it",
        ),
    ],
)  # fmt: skip
def test_what_keeps_a_pod_from_starting(pod: dict[str, object], want_reason: str, want_words: str) -> None:
    waiting = pod_state(pod, TRAIN).waiting

    assert waiting is not None
    assert waiting.reason == want_reason
    assert want_words in waiting.message


def test_a_pod_that_is_just_starting_has_no_problem() -> None:
    pod = make_pod("train", state={"waiting": {"reason": "ContainerCreating"}})

    assert pod_state(pod, TRAIN).waiting is None


def test_a_running_pod_runs() -> None:
    state = pod_state(running_pod("train"), TRAIN)

    assert state.running
    assert state.ending is None


def test_pods_are_ordered_by_creation() -> None:
    job = (
        JobBuilder(make_subject(), "train")
        .with_pod(ended_pod("train", 1, name="z"))
        .with_pod(running_pod("train", name="a"))
    )

    newest = job.state().newest

    assert newest is not None
    assert newest.name == "a"


@given(st.binary(max_size=300), st.integers(min_value=0, max_value=255))
def test_no_termination_message_breaks_the_reading(message: bytes, exit_code: int) -> None:
    pod = ended_pod("train", exit_code, message=message.decode("utf-8", errors="surrogateescape"))

    ending = pod_state(pod, TRAIN).ending

    assert ending is not None
    ending.message.encode()
