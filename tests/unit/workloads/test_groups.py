"""Which pods work on one attempt, and how a group of them ends."""

from __future__ import annotations

from typing import Any

from modelgarden.finetune.programs import TRAIN
from modelgarden.workloads.groups import PodGroup, groups_of
from modelgarden.workloads.pods import pod_state
from tests.unit.builders import ended_pod, make_pod, running_pod, stamp


def ranked(pod: dict[str, Any], index: int) -> dict[str, Any]:
    pod["metadata"]["annotations"] = {"batch.kubernetes.io/job-completion-index": str(index)}
    return pod


def groups(*pods: dict[str, Any]) -> tuple[PodGroup, ...]:
    return groups_of(pod_state(pod, TRAIN) for pod in pods)


def test_a_pod_without_an_index_is_an_attempt_of_its_own() -> None:
    found = groups(ended_pod("train", 1, name="a"), running_pod("train", name="b"))

    assert [[pod.name for pod in group.pods] for group in found] == [["a"], ["b"]]


def test_the_nth_pods_of_all_indexes_are_the_nth_attempt() -> None:
    found = groups(
        ranked(ended_pod("train", 1, name="r1-a"), 1),
        ranked(ended_pod("train", 143, name="r0-a"), 0),
        ranked(running_pod("train", name="r0-b"), 0),
        ranked(running_pod("train", name="r1-b"), 1),
    )

    assert [[pod.name for pod in group.pods] for group in found] == [["r0-a", "r1-a"], ["r0-b", "r1-b"]]
    assert [group.name for group in found] == ["r0-a", "r0-b"]


def test_a_group_runs_once_all_of_its_pods_do() -> None:
    waiting = make_pod("train", name="r1", state={"waiting": {"reason": "ErrImagePull", "message": "gone"}})

    (group,) = groups(ranked(running_pod("train", name="r0"), 0), ranked(waiting, 1))

    assert not group.running
    assert group.started_at is None
    assert group.waiting is not None
    assert group.waiting.reason == "ImagePullFailed"


def test_a_group_ends_as_the_first_of_its_pods_that_failed() -> None:
    first = ended_pod("train", 1, message="CUDA error", name="r1")
    first["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = stamp(30)

    (group,) = groups(ranked(ended_pod("train", 143, name="r0"), 0), ranked(first, 1))

    assert group.ending is not None
    assert "CUDA error" in group.ending.message
    assert group.ended_at == stamp(30)


def test_a_group_has_ended_well_once_all_of_its_pods_have() -> None:
    done, runs = ranked(ended_pod("train", 0, name="r0"), 0), ranked(running_pod("train", name="r1"), 1)

    (half,) = groups(done, runs)
    (whole,) = groups(done, ranked(ended_pod("train", 0, name="r1"), 1))

    assert half.ending is None
    assert whole.ending is not None
    assert not whole.ending.failed
