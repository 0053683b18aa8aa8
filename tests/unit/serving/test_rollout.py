"""Decisions of the RollingUpdate, one situation a test."""

from __future__ import annotations

from datetime import timedelta

import pytest

from modelgarden.api.conditions import Problem
from modelgarden.serving.rollout import SURGE_GRACE, Revision, aim, overdue, removable, scale, verdict
from tests.unit.serving.builders import NOW, revision

DEADLINE = timedelta(seconds=300)
WAITING = NOW - timedelta(seconds=60)
JUST_NOW = NOW - timedelta(seconds=5)
PERMANENT = Problem("PodsFailing", "no such flag", permanent=True)
BAD = Problem("ProgressDeadlineExceeded", "none became ready")


def scales(new: Revision, *old: Revision, replicas: int) -> dict[str, int]:
    rollout = aim(new, old, replicas)
    assert rollout is not None
    return scale(rollout, NOW)


@pytest.mark.parametrize(
    ("new", "old", "replicas", "want"),
    [
        pytest.param(revision("new", wanted=0), (), 3, {"new": 3}, id="the first revision starts whole"),
        pytest.param(
            revision("new", wanted=0),
            (revision("old", wanted=2, ready=2, served=True),),
            2,
            {"new": 1, "old": 2},
            id="a new revision begins with one pod more than replicas",
        ),
        pytest.param(
            revision("new", wanted=1, ready=0),
            (revision("old", wanted=2, ready=2, served=True),),
            2,
            {"new": 1, "old": 2},
            id="an old pod stays until the new one is ready",
        ),
        pytest.param(
            revision("new", wanted=1, ready=1),
            (revision("old", wanted=2, ready=2, served=True),),
            2,
            {"new": 1, "old": 1},
            id="a ready new pod lets one old pod go",
        ),
        pytest.param(
            revision("new", wanted=1, ready=1),
            (revision("old", wanted=1, ready=1, held=2, served=True),),
            2,
            {"new": 1, "old": 1},
            id="the next new pod waits until the old one has ended and given its GPU back",
        ),
        pytest.param(
            revision("new", wanted=1, ready=1),
            (revision("old", wanted=1, ready=1, served=True),),
            2,
            {"new": 2, "old": 1},
            id="the next new pod takes the place of the old one",
        ),
        pytest.param(
            revision("new", wanted=1, starved_since=WAITING),
            (revision("old", wanted=2, ready=2, served=True),),
            2,
            {"new": 1, "old": 1},
            id="an old pod makes room for a new one without a place",
        ),
        pytest.param(
            revision("new", wanted=1, starved_since=JUST_NOW),
            (revision("old", wanted=2, ready=2, served=True),),
            2,
            {"new": 1, "old": 2},
            id="the scheduler gets a moment before an old pod makes room",
        ),
        pytest.param(
            revision("new", wanted=1, starved_since=WAITING),
            (revision("old", wanted=1, ready=2, held=2, served=True),),
            2,
            {"new": 1, "old": 1},
            id="only one old pod makes room, also while its Deployment still counts it as ready",
        ),
        pytest.param(
            revision("new", wanted=1, starved_since=WAITING),
            (revision("old", wanted=1, ready=1, served=True),),
            1,
            {"new": 1, "old": 0},
            id="with a single GPU the only old pod makes room",
        ),
        pytest.param(
            revision("new", wanted=1, ready=0),
            (revision("old", wanted=2, ready=1, served=True),),
            2,
            {"new": 1, "old": 2},
            id="an old pod that misses a probe stays while too few answer",
        ),
        pytest.param(
            revision("new", wanted=1, ready=0),
            (revision("old", wanted=1, ready=0, served=True),),
            1,
            {"new": 1, "old": 1},
            id="the only old pod that misses a probe stays",
        ),
        pytest.param(
            revision("new", wanted=1, ready=1),
            (revision("old", wanted=2, ready=1, served=True),),
            2,
            {"new": 1, "old": 1},
            id="an old pod that does not answer goes first once a new one is ready",
        ),
        pytest.param(
            revision("new", wanted=2, ready=2),
            (revision("old", wanted=2, ready=0, served=True),),
            2,
            {"new": 2, "old": 0},
            id="a whole new revision also ends old pods that do not answer",
        ),
        pytest.param(
            revision("new", wanted=1, starved_since=WAITING),
            (revision("old", wanted=2, ready=1, served=True),),
            2,
            {"new": 1, "old": 1},
            id="an old pod that does not answer is the one that makes room",
        ),
        pytest.param(
            revision("new", wanted=1, starved_since=WAITING),
            (revision("old", wanted=3, ready=1, served=True),),
            3,
            {"new": 1, "old": 2},
            id="only one old pod makes room, also where others do not answer",
        ),
        pytest.param(
            revision("new", wanted=1, starved_since=WAITING),
            (revision("old", wanted=1, ready=0, served=True),),
            1,
            {"new": 1, "old": 0},
            id="with a single GPU an old pod that does not answer makes room",
        ),
        pytest.param(
            revision("new", wanted=1, ready=0),
            (revision("old", wanted=3, ready=1, served=True),),
            2,
            {"new": 1, "old": 2},
            id="with fewer replicas no more old pods wait to answer again than are needed",
        ),
        pytest.param(
            revision("new", wanted=2, ready=1),
            (revision("old", wanted=2, ready=0, served=True),),
            4,
            {"new": 3, "old": 2},
            id="with more replicas the old pods that do not answer stay as well",
        ),
        pytest.param(
            revision("new", wanted=1, ready=0),
            (
                revision("mid", wanted=1, ready=1),
                revision("old", wanted=2, ready=0, served=True),
                revision("older", wanted=1, ready=0, served=True, created=NOW - timedelta(days=2)),
            ),
            2,
            {"new": 1, "mid": 1, "old": 1, "older": 0},
            id="what answers counts first, then the newest that served",
        ),
        pytest.param(
            revision("new", wanted=1, ready=0),
            (revision("old", wanted=1, ready=0, served=True, failed=BAD),),
            1,
            {"new": 1, "old": 0},
            id="a failed revision that does not answer goes at once",
        ),
        pytest.param(
            revision("new", wanted=0),
            (revision("mid", wanted=1, ready=0), revision("old", wanted=2, ready=2, served=True)),
            2,
            {"new": 0, "mid": 0, "old": 2},
            id="a rollout that is overtaken gives its unready pod up first",
        ),
        pytest.param(
            revision("new", wanted=2, ready=2),
            (revision("mid", wanted=1, ready=1), revision("old", wanted=1, ready=1, served=True)),
            2,
            {"new": 2, "mid": 0, "old": 0},
            id="a whole new revision ends all others",
        ),
        pytest.param(
            revision("new", wanted=2, ready=1),
            (
                revision("mid", wanted=1, ready=1),
                revision("old", wanted=1, ready=1, served=True, created=NOW - timedelta(days=1)),
            ),
            2,
            {"new": 2, "mid": 0, "old": 1},
            id="of two that answer the one that served stays",
        ),
        pytest.param(
            revision("new", wanted=2, ready=1),
            (
                revision("older", wanted=1, ready=1, served=True, created=NOW - timedelta(days=2)),
                revision("old", wanted=1, ready=1, served=True, created=NOW - timedelta(days=1)),
            ),
            2,
            {"new": 2, "older": 0, "old": 1},
            id="of two that served the newer one stays",
        ),
        pytest.param(
            revision("new", wanted=1, starved_since=NOW - SURGE_GRACE),
            (revision("old", wanted=2, ready=2, served=True),),
            2,
            {"new": 1, "old": 1},
            id="the scheduler's moment ends on the second",
        ),
        pytest.param(revision("new", wanted=2, ready=2), (), 5, {"new": 5}, id="more replicas come at once"),
        pytest.param(revision("new", wanted=5, ready=5), (), 2, {"new": 2}, id="fewer replicas go at once"),
        pytest.param(
            revision("new", wanted=1, ready=0),
            (revision("old", wanted=2, ready=2, served=True),),
            0,
            {"new": 0, "old": 0},
            id="no replicas means no pod of any revision",
        ),
    ],
)
def test_scale(new: Revision, old: tuple[Revision, ...], replicas: int, want: dict[str, int]) -> None:
    assert scales(new, *old, replicas=replicas) == want


def test_a_failed_revision_gives_way_to_the_newest_that_served() -> None:
    failed = revision("new", wanted=1, failed=BAD)
    older = revision("older", wanted=0, served=True, created=NOW - timedelta(days=2))
    old = revision("old", wanted=1, ready=1, served=True, created=NOW - timedelta(days=1))

    rollout = aim(failed, (older, old), 2)

    assert rollout is not None
    assert rollout.target.name == "old"
    assert rollout.returning
    assert scale(rollout, NOW) == {"old": 2, "older": 0, "new": 0}


def test_a_failed_revision_keeps_trying_when_nothing_served_before_it() -> None:
    rollout = aim(revision("new", failed=BAD), (revision("old", wanted=0),), 1)

    assert rollout is not None
    assert rollout.target.name == "new"


def test_while_nothing_is_known_to_be_wanted_what_served_goes_on() -> None:
    started = revision("mid", wanted=1, ready=0)
    old = revision("old", wanted=1, ready=1, served=True, created=NOW - timedelta(days=1))

    rollout = aim(None, (started, old), 1)

    assert rollout is not None
    assert scale(rollout, NOW) == {"old": 1, "mid": 0}
    assert aim(None, (), 1) is None


def test_while_nothing_is_known_to_be_wanted_and_nothing_served_the_newest_goes_on() -> None:
    older, newest, old = (
        revision(name, created=NOW - timedelta(days=days))
        for name, days in (("older", 3), ("newest", 1), ("old", 2))
    )

    rollout = aim(None, (older, newest, old), 1)

    assert rollout is not None
    assert rollout.target.name == "newest"
    assert rollout.returning


@pytest.mark.parametrize(
    ("new", "old", "want"),
    [
        pytest.param(
            revision("new", created=NOW - timedelta(seconds=299)),
            revision("old", served=True),
            None,
            id="before its deadline nothing is rolled back",
        ),
        pytest.param(
            revision("new", created=NOW - DEADLINE),
            revision("old", served=True),
            "ProgressDeadlineExceeded",
            id="from it on, it is",
        ),
        pytest.param(
            revision("new", last_ready_at=NOW - timedelta(seconds=30)),
            revision("old", served=True),
            None,
            id="a pod that became ready starts the clock anew",
        ),
        pytest.param(
            revision("new"),
            revision("old", served=True, scaled_at=NOW - timedelta(seconds=30)),
            None,
            id="an old pod that made room starts the clock anew",
        ),
        pytest.param(
            revision("new", raised_at=NOW - timedelta(seconds=30)),
            revision("old", served=True),
            None,
            id="more pods of the new revision start the clock anew",
        ),
        pytest.param(
            revision("new", wanted=0),
            revision("old", wanted=0, served=True),
            None,
            id="a revision that waited at zero replicas has its time from its first pod on",
        ),
        pytest.param(
            revision("new", ready=1),
            revision("old", ready=1, served=True),
            None,
            id="an old pod that is yet to be drained does not count against a new one that is ready",
        ),
        pytest.param(
            revision("new", starved_since=NOW - timedelta(seconds=200)),
            revision("old", ready=1, served=True),
            None,
            id="an old pod that is yet to make room does not count against a new one without a place",
        ),
        pytest.param(
            revision("new", wanted=0, problem=PERMANENT),
            revision("old", served=True),
            "PodsFailing",
            id="what can never work is rolled back whatever else is to be done",
        ),
        pytest.param(
            revision("new"), revision("old"), None, id="without a revision that served there is no way back"
        ),
        pytest.param(
            revision("new", served=True),
            revision("old", served=True),
            None,
            id="what was rolled out once is not rolled back later",
        ),
        pytest.param(
            revision("new", ready=1),
            revision("old", served=True, wanted=0),
            None,
            id="a complete rollout is not rolled back",
        ),
        pytest.param(
            revision("new", created=NOW, problem=PERMANENT),
            revision("old", served=True),
            "PodsFailing",
            id="what can never work is rolled back at once",
        ),
        pytest.param(
            revision("new", served=True, problem=PERMANENT),
            revision("old", served=True),
            None,
            id="what was rolled out once is not rolled back even if it can never work again",
        ),
        pytest.param(
            revision("new", ready=1, problem=PERMANENT),
            revision("old", served=True, wanted=0),
            None,
            id="a complete rollout is not rolled back whatever one of its pods says",
        ),
        pytest.param(
            revision("new", created=NOW, problem=Problem("PodsFailing", "exit code 1")),
            revision("old", served=True),
            None,
            id="a crash has until the deadline",
        ),
    ],
)
def test_verdict(new: Revision, old: Revision, want: str | None) -> None:
    rollout = aim(new, (old,), 1)
    assert rollout is not None

    found = verdict(rollout, DEADLINE, NOW)

    assert (found.reason if found else None) == want


LATE = "0 of 2 replicas of revision new are ready, and none became so in 300 s."


@pytest.mark.parametrize(
    ("problem", "want"),
    [(Problem("PodsFailing", "exit code 1"), f"{LATE} exit code 1"), (None, LATE)],
    ids=["with what its pods fail with", "without more to say"],
)
def test_a_revision_without_way_back_is_overdue_all_the_same(problem: Problem | None, want: str) -> None:
    rollout = aim(revision("new", wanted=2, problem=problem), (), 2)
    assert rollout is not None

    assert overdue(rollout, DEADLINE, NOW) == Problem("ProgressDeadlineExceeded", want)


@pytest.mark.parametrize(
    "new",
    [revision("new", served=True), revision("new", ready=1)],
    ids=["it was rolled out once", "it is complete"],
)
def test_a_revision_is_not_overdue_when(new: Revision) -> None:
    rollout = aim(new, (), 1)
    assert rollout is not None

    assert overdue(rollout, DEADLINE, NOW) is None


@pytest.mark.parametrize(
    ("new", "want"),
    [
        pytest.param(revision("new", ready=1, served=True), {"old", "mid"}, id="once the new one served"),
        pytest.param(revision("new", ready=0), {"mid"}, id="before that the way back stays"),
    ],
)
def test_drained_revisions_can_go(new: Revision, want: set[str]) -> None:
    old = revision("old", wanted=0, held=0, served=True)
    mid = revision("mid", wanted=0, held=0)
    rollout = aim(new, (old, mid), 1)
    assert rollout is not None

    assert set(removable(rollout, "new")) == want


def test_a_failed_revision_stays_as_the_record_of_its_failure() -> None:
    failed = revision("new", wanted=0, failed=BAD)
    rollout = aim(failed, (revision("old", ready=1, served=True),), 1)
    assert rollout is not None

    assert removable(rollout, "new") == ()
    assert removable(rollout, "newer") == ("new",)
