"""Reading the children."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from modelgarden.api.conditions import Problem
from modelgarden.api.modeldeployment import ModelSource, ServedArtifact
from modelgarden.serving.observation import by_revision, due_reports, pods_since, revisions_of, unended
from modelgarden.serving.resolve import same_source
from modelgarden.workloads.pods import trouble_of
from tests.unit.serving.builders import (
    DIGEST,
    NOW,
    OTHER_DIGEST,
    RUN,
    crashed,
    live,
    made,
    pod,
    unschedulable,
    wanted,
)


@pytest.mark.parametrize(
    ("uri", "model", "want"),
    [
        pytest.param(RUN, {"fineTuneJobRef": {"name": "tune"}}, True, id="a run of the job"),
        pytest.param(RUN, {"fineTuneJobRef": {"name": "other"}}, False, id="a run of another job"),
        pytest.param("s3://models/base", {"source": "s3://models/base"}, True, id="the folder"),
        pytest.param(
            "s3://models/run/manifest.json", {"source": "s3://models/run"}, True, id="the manifest in it"
        ),
        pytest.param("s3://models/base2", {"source": "s3://models/base"}, False, id="another folder"),
        pytest.param(
            "s3://models/base", {"fineTuneJobRef": {"name": "base"}}, False, id="a folder, not a job"
        ),
    ],
)
def test_same_source(uri: str, model: dict[str, Any], want: bool) -> None:
    found = ServedArtifact(uri=uri, sha256=DIGEST)

    assert same_source(found, ModelSource.from_dict(model), "default") is want


def test_a_pod_that_is_ending_holds_its_place_but_tells_no_trouble() -> None:
    one = live(made(wanted(), replicas=1, annotations={}))
    ending = pod(wanted(), **crashed("serve", 1))
    ending["metadata"]["deletionTimestamp"] = "2026-11-21T11:59:00Z"

    (revision,) = revisions_of(by_revision([one]), [ending])

    assert revision.held == 1
    assert revision.problem is None


def test_a_deployment_tells_what_became_of_its_revision() -> None:
    notes = {
        "modelgarden.dev/scaled-at": "2026-11-21T11:40:00.000000Z",
        "modelgarden.dev/raised-at": "2026-11-21T11:30:00.000000Z",
        "modelgarden.dev/failed": '{"reason":"PodsFailing","message":"no such flag"}',
    }
    one = live(made(wanted(), replicas=2, annotations=notes), ready=1)

    (revision,) = revisions_of(by_revision([one]), [])

    assert revision.model == f"bot@{DIGEST}"
    assert (revision.wanted, revision.ready, revision.served) == (2, 1, False)
    assert revision.scaled_at == NOW - timedelta(minutes=20)
    assert revision.raised_at == NOW - timedelta(minutes=30)
    assert revision.failed == Problem("PodsFailing", "no such flag")


def test_a_bare_deployment_is_a_revision_of_one_pod_that_is_not_there_yet() -> None:
    bare = {
        "metadata": {
            "name": "bot-0123456789",
            "creationTimestamp": "2026-11-21T11:00:00Z",
        },
        "spec": {"selector": {"matchLabels": {"modelgarden.dev/revision": "0123456789"}}},
    }

    (revision,) = revisions_of(by_revision([bare]), [{"metadata": {"name": "a", "uid": "1"}}])

    assert (revision.model, revision.wanted, revision.ready, revision.held) == ("", 1, 0, 0)
    assert (revision.failed, revision.problem, revision.starved_since) == (None, None, None)
    assert revision.outdated == 0
    assert by_revision([{**bare, "spec": {"selector": {}}}]) == {}


@pytest.mark.parametrize(
    ("status", "want"),
    [
        ({"replicas": 2}, 2),
        ({"replicas": 2, "updatedReplicas": 1}, 1),
        ({"replicas": 1, "updatedReplicas": 2}, 0),
    ],
)
def test_pods_of_an_older_template_are_counted(status: dict[str, int], want: int) -> None:
    one = live(made(wanted(), replicas=2))
    one["status"] = status

    (revision,) = revisions_of(by_revision([one]), [])

    assert revision.outdated == want


@pytest.mark.parametrize("note", ["not json", "[]", '{"reason": "PodsFailing"}'])
def test_a_failure_whose_note_cannot_be_read_is_still_a_failure(note: str) -> None:
    one = live(made(wanted(), replicas=1, annotations={"modelgarden.dev/failed": note}))

    (revision,) = revisions_of(by_revision([one]), [])

    assert revision.failed == Problem("ProgressDeadlineExceeded", note)


def test_the_newest_revision_comes_first() -> None:
    older = live(made(wanted(sha256=OTHER_DIGEST), replicas=1), age=900)
    newer = live(made(wanted(), replicas=1), age=600)

    found = revisions_of(by_revision([older, newer]), [])

    assert [one.created for one in found] == [NOW - timedelta(seconds=600), NOW - timedelta(seconds=900)]


@pytest.mark.parametrize("order", [1, -1], ids=["told first", "told last"])
def test_what_never_gets_better_is_told_before_what_may(order: int) -> None:
    one = live(made(wanted(), replicas=3, annotations={}))
    pods = [
        pod(wanted(), "a", **crashed("serve", 1)),
        pod(
            wanted(),
            "b",
            **crashed("serve", 64, '{"reason":"InvalidConfiguration","message":"no such flag"}'),
        ),
        pod(wanted(), "c", **unschedulable("no node", seconds=1)),
    ][::order]

    (revision,) = revisions_of(by_revision([one]), pods)
    (others,) = revisions_of(by_revision([one]), [each for each in pods if each["metadata"]["name"] != "b"])

    assert revision.problem is not None
    assert revision.problem.permanent
    assert "no such flag" in revision.problem.message
    assert others.problem is not None
    assert others.problem.message.startswith("Pod a")


def test_pods_that_the_api_server_refuses_are_told() -> None:
    one = live(made(wanted(), replicas=1, annotations={}))
    refused = {"type": "ReplicaFailure", "status": "True", "lastTransitionTime": "2026-11-21T11:59:00Z"}
    name = one["metadata"]["name"]

    said = []
    for more in ({"message": "pods is forbidden: violates PodSecurity"}, {}):
        one["status"]["conditions"] = [{"type": "Available", "status": "True"}, {**refused, **more}]
        (revision,) = revisions_of(by_revision([one]), [])
        said.append(revision.problem)
        assert revision.starved_since is None

    assert said == [
        Problem(
            "PodsFailing",
            f"The API server refuses the pods of {name}: pods is forbidden: violates PodSecurity",
        ),
        Problem("PodsFailing", f"The API server refuses the pods of {name}: "),
    ]


@pytest.mark.parametrize(
    ("condition", "want"),
    [
        pytest.param(
            {"reason": "SchedulingGated"}, NOW - timedelta(minutes=5), id="a queue has not admitted it"
        ),
        pytest.param({"reason": "Unschedulable"}, None, id="nothing is said of why"),
    ],
)
def test_a_pod_waits_for_room_when(condition: dict[str, str], want: datetime | None) -> None:
    one = live(made(wanted(), replicas=1, annotations={}))
    waiting = pod(wanted(), conditions=[{"type": "PodScheduled", "status": "False", **condition}])

    (revision,) = revisions_of(by_revision([one]), [waiting])

    assert revision.starved_since == want


def test_a_pod_that_is_ready_shows_that_the_rollout_gets_on_though_its_containers_tell_no_restarts() -> None:
    one = live(made(wanted(), replicas=1, annotations={}))
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T11:59:00Z"}
    steady = pod(
        wanted(), phase="Running", conditions=[ready], containerStatuses=[{"name": "serve", "state": {}}]
    )

    (revision,) = revisions_of(by_revision([one]), [steady])

    assert revision.last_ready_at == NOW - timedelta(minutes=1)


def test_a_deployment_that_is_being_deleted_is_no_revision() -> None:
    one = live(made(wanted(), replicas=1, annotations={}))
    one["metadata"]["deletionTimestamp"] = "2026-11-21T11:59:00Z"

    assert by_revision([one]) == {}


def test_a_deployment_is_known_by_what_cannot_be_changed() -> None:
    one = live(made(wanted(), replicas=1, annotations={}))
    known = by_revision([one])
    one["metadata"]["labels"] = {"modelgarden.dev/revision": "another"}

    assert by_revision([one]) == known


def test_pods_of_an_earlier_owner_of_the_name_do_not_count() -> None:
    pods = [pod(wanted(), name) for name in ("earlier", "own")]
    pods[0]["metadata"]["creationTimestamp"] = "2026-11-21T11:00:00Z"

    (own,) = pods_since("2026-11-21T11:30:00Z", pods)

    assert own["metadata"]["name"] == "own"
    assert pods_since(own["metadata"]["creationTimestamp"], pods) == (own,), "it may be as old as its owner"


def test_an_evicted_pod_that_lingers_uses_no_energy() -> None:
    pods = [pod(wanted(), "evicted", phase="Failed"), pod(wanted(), "own", phase="Running")]

    assert unended(pods) == {"uid-own"}


def test_readiness_after_a_restart_does_not_count_as_progress() -> None:
    one = live(made(wanted(), replicas=1, annotations={}))
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T11:59:00Z"}
    steady = {"name": "serve", "image": "i", "ready": True, "restartCount": 0, "state": {}}
    pods = [
        pod(
            wanted(),
            phase="Running",
            conditions=[ready],
            containerStatuses=[{**steady, "restartCount": count}],
        )
        for count in (0, 1)
    ]

    seen = [revisions_of(by_revision([one]), [each])[0].last_ready_at for each in pods]

    assert seen[0] is not None
    assert seen[1] is None


@pytest.mark.parametrize(
    ("state", "want"),
    [
        pytest.param({"running": {"startedAt": "2026-11-21T11:58:59Z"}}, {"uid-p1"}, id="it runs for 61 s"),
        pytest.param({"running": {"startedAt": "2026-11-21T11:59:00Z"}}, set(), id="it runs for 60 s"),
        pytest.param({"waiting": {"reason": "CrashLoopBackOff"}}, set(), id="it does not run"),
        pytest.param({}, set(), id="nothing is known of it"),
    ],
)
def test_a_pod_owes_a_report_once_it_runs_for_more_than_two_intervals(
    state: dict[str, Any], want: set[str]
) -> None:
    fetched = {"name": "fetch", "state": {"running": {"startedAt": "2026-11-21T11:00:00Z"}}}
    status: dict[str, Any] = {
        "initContainerStatuses": [fetched],
        "containerStatuses": [{"name": "serve", "state": state}],
    }

    assert set(due_reports([pod(wanted(), phase="Running", **status)], NOW)) == want


def test_a_pod_that_preempts_others_is_not_starved() -> None:
    one = live(made(wanted(), replicas=1, annotations={}))
    placed = unschedulable("1 Insufficient nvidia.com/gpu.", seconds=60)
    placed["nominatedNodeName"] = "node-1"

    (revision,) = revisions_of(by_revision([one]), [pod(wanted(), **placed)])

    assert revision.starved_since is None


@pytest.mark.parametrize(
    ("status", "reason", "text"),
    [
        pytest.param(unschedulable("no node", seconds=1), "Unschedulable", "no node", id="no node"),
        pytest.param(
            {"containerStatuses": [{"name": "serve", "image": "i:1", "state": {"waiting": {
                "reason": "ImagePullBackOff", "message": "not found"}}}]},
            "ImagePullFailed", "i:1: ImagePullBackOff: not found", id="no image",
        ),
        pytest.param(
            {"initContainerStatuses": [{"name": "fetch", "image": "i", "state": {"waiting": {
                "reason": "CreateContainerConfigError", "message": 'secret "s3" not found'}}}]},
            "PodsFailing", 'secret "s3" not found', id="no secret",
        ),
        pytest.param(
            crashed("fetch", 75, '{"reason":"StorageUnavailable","message":"S3 is away"}'),
            "PodsFailing", "StorageUnavailable: S3 is away", id="a program that says why it ended",
        ),
        pytest.param(crashed("serve", 137), "PodsFailing", "exit code 137; see its log", id="one that does not"),
        pytest.param(
            {"containerStatuses": [{"name": "serve", "image": "i", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]},
            "PodsFailing", "memory limit", id="out of memory",
        ),
    ],
)  # fmt: skip
def test_trouble_of_a_pod(status: dict[str, Any], reason: str, text: str) -> None:
    problem = trouble_of(pod(wanted(), **status))

    assert problem is not None
    assert problem.reason == reason
    assert text in problem.message


def test_a_pod_that_starts_as_it_should_has_no_problem() -> None:
    starting = {"waiting": {"reason": "PodInitializing"}}
    status: dict[str, Any] = {"containerStatuses": [{"name": "serve", "image": "i", "state": starting}]}

    assert trouble_of(pod(wanted(), **status)) is None
