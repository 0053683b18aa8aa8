"""Which pods work on one attempt, and how a group of them ends."""

from __future__ import annotations

from typing import Any

from modelgarden.api.pods import TerminationMessage
from modelgarden.finetune.programs import TRAIN
from modelgarden.workloads.groups import PodGroup, groups_of
from modelgarden.workloads.pods import pod_state
from tests.unit.builders import ended_pod, make_pod, running_pod, stamp


def ranked(pod: dict[str, Any], index: int) -> dict[str, Any]:
    pod["metadata"]["annotations"] = {"batch.kubernetes.io/job-completion-index": str(index)}
    return pod


def groups(*pods: dict[str, Any]) -> tuple[PodGroup, ...]:
    """Return those of a Job of one pod at a time."""
    return groups_of(pod_state(pod, TRAIN) for pod in pods)


def indexed(*pods: dict[str, Any], size: int = 2) -> tuple[PodGroup, ...]:
    return groups_of((pod_state(pod, TRAIN) for pod in pods), size=size)


def test_a_pod_without_an_index_is_an_attempt_of_its_own() -> None:
    found = groups(ended_pod("train", 1, name="a"), running_pod("train", name="b"))

    assert [[pod.name for pod in group.pods] for group in found] == [["a"], ["b"]]


def test_an_indexed_job_is_one_attempt_of_the_newest_pods_of_its_indexes() -> None:
    (found,) = indexed(
        ranked(ended_pod("train", 143, name="r1-a"), 1),
        ranked(running_pod("train", name="r0"), 0),
        ranked(running_pod("train", name="r1-b"), 1),
    )

    assert [pod.name for pod in found.pods] == ["r0", "r1-b"]
    assert (found.name, found.running) == ("r0", True)


def test_a_group_that_lacks_a_pod_does_not_run() -> None:
    (found,) = indexed(ranked(running_pod("train", name="r0"), 0))

    assert not found.running
    assert found.first_started_at is not None


def test_a_pod_that_ended_for_another_is_no_cause() -> None:
    lost = TerminationMessage(reason="PeerLost", message="pod r1 has ended.")
    first = ranked(ended_pod("train", 1, message=lost, name="r0"), 0)
    second = ranked(ended_pod("train", 1, message="CUDA error", name="r1"), 1)
    second["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = stamp(3600)

    (group,) = indexed(first, second)

    assert group.ending is not None
    assert "CUDA error" in group.ending.message


def test_a_group_runs_once_all_of_its_pods_do() -> None:
    waiting = make_pod("train", name="r1", state={"waiting": {"reason": "ErrImagePull", "message": "gone"}})

    (group,) = indexed(ranked(running_pod("train", name="r0"), 0), ranked(waiting, 1))

    assert not group.running
    assert group.started_at is None
    assert group.waiting is not None
    assert group.waiting.reason == "ImagePullFailed"


def test_a_group_ends_as_the_first_of_its_pods_that_failed() -> None:
    first = ended_pod("train", 1, message="CUDA error", name="r1")
    first["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = stamp(30)

    (group,) = indexed(ranked(ended_pod("train", 143, name="r0"), 0), ranked(first, 1))

    assert group.ending is not None
    assert "CUDA error" in group.ending.message
    assert group.ended_at == stamp(30)


def test_a_group_has_ended_well_once_all_of_its_pods_have() -> None:
    done, runs = ranked(ended_pod("train", 0, name="r0"), 0), ranked(running_pod("train", name="r1"), 1)

    (half,) = indexed(done, runs)
    (whole,) = indexed(done, ranked(ended_pod("train", 0, name="r1"), 1))

    assert half.ending is None
    assert whole.ending is not None
    assert not whole.ending.failed
