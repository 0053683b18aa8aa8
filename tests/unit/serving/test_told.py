"""What a ModelDeployment tells and does in each situation, word by word: people and their tools go by it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from modelgarden.api.conditions import Problem
from modelgarden.api.modeldeployment import ModelDeploymentStatus
from modelgarden.api.pods import EngineReport
from modelgarden.controller.plan import Plan
from modelgarden.serving.observation import PodsSaid
from modelgarden.serving.plan import plan, unreadable
from modelgarden.serving.resolve import Resolution
from modelgarden.serving.revision import revision_hash
from tests.unit.serving.builders import (
    NOW,
    OTHER_DIGEST,
    artifact,
    crashed,
    live,
    made,
    observed,
    pod,
    spec,
    unschedulable,
    wanted,
)
from tests.unit.told import told

OLD, NEW = wanted(sha256=OTHER_DIGEST), wanted()
SERVED = {"modelgarden.dev/served": "true"}
FAILED = {
    "modelgarden.dev/failed": json.dumps(
        {"reason": "PodsFailing", "message": "vLLM knows no argument --flag."}
    )
}
NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
AWAY = Problem("StorageUnavailable", "s3.test does not answer.")
NO_SECRET = Problem("SecretNotFound", "Secret 's3' does not exist; create it.")
WAITS = Problem("WaitingForFineTuneJob", "FineTuneJob 'tune' has no artifact yet; its phase is Training.")
JOB_FAILED = Problem("FineTuneJobFailed", "FineTuneJob 'tune' has failed.")
RUNNING = pod(NEW, phase="Running")
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T11:58:00Z"}


def old(ready: int = 1, count: int = 1) -> dict[str, Any]:
    return live(made(OLD, replicas=count, annotations=SERVED), ready=ready, age=86_400)


def new(
    ready: int = 0, count: int = 1, age: float = 60, notes: Mapping[str, str] | None = None
) -> dict[str, Any]:
    return live(made(NEW, replicas=count, annotations=notes), ready=ready, age=age)


def planned(*deployments: dict[str, Any], **seen: Any) -> Plan:
    return plan(observed(deployments=deployments, **seen))


def engine(*named: str) -> PodsSaid:
    return PodsSaid(engines={"uid-p1": EngineReport(attempt="uid-p1", awaited="bot", named=named or None)})


SITUATIONS: dict[str, Callable[[], Plan]] = {
    "the spec cannot be read": lambda: unreadable(
        ModelDeploymentStatus(), generation=2, message="spec.replicas: Input should be an integer.", now=NOW
    ),
    "nothing is known of the model": lambda: planned(resolution=Resolution()),
    "a secret is missing": lambda: planned(resolution=Resolution(refused=NO_SECRET)),
    "a secret is missing while it serves": lambda: planned(
        new(ready=1, notes=SERVED), resolution=Resolution(artifact=artifact(), refused=NO_SECRET)
    ),
    "the job is not done": lambda: planned(resolution=Resolution(problem=WAITS, waits=True)),
    "another job is not done": lambda: planned(old(), resolution=Resolution(problem=WAITS, waits=True)),
    "the job failed": lambda: planned(resolution=Resolution(problem=JOB_FAILED)),
    "storage is away before anything serves": lambda: planned(resolution=Resolution(problem=AWAY)),
    "storage is away while it serves": lambda: planned(
        new(ready=1, notes=SERVED), resolution=Resolution(artifact=artifact(), problem=AWAY)
    ),
    "storage is away before the next revision": lambda: planned(
        old(), resolution=Resolution(artifact=artifact(), problem=AWAY)
    ),
    "it starts": lambda: planned(the_spec=spec(replicas=2)),
    "it starts at zero": lambda: planned(the_spec=spec(replicas=0)),
    "its pod starts": lambda: planned(new(), pods=(pod(NEW),)),
    "its pod finds no node": lambda: planned(new(), pods=(pod(NEW, **unschedulable(NO_GPU, seconds=30)),)),
    "the kubelet cannot start its pod": lambda: planned(
        new(),
        pods=(pod(NEW),),
        said=PodsSaid(stuck={"uid-p1": Problem("StartFailed", "Pod p1 does not start: FailedMount")}),
    ),
    "its pod crashes": lambda: planned(new(), pods=(pod(NEW, **crashed("serve", 1)),)),
    "its engine does not answer yet": lambda: planned(new(), pods=(RUNNING,), said=engine()),
    "its engine serves another model": lambda: planned(new(), pods=(RUNNING,), said=engine("evil")),
    "it is overdue without a way back": lambda: planned(new(age=1801)),
    "it serves for the first time": lambda: planned(
        new(ready=1), pods=(pod(NEW, phase="Running", conditions=[READY]),)
    ),
    "it serves": lambda: planned(
        new(ready=1, notes=SERVED), pods=(pod(NEW, phase="Running", conditions=[READY]),)
    ),
    "it lost its only pod": lambda: planned(new(notes=SERVED)),
    "it scales up": lambda: planned(new(ready=1, notes=SERVED), the_spec=spec(replicas=3)),
    "it scales to zero": lambda: planned(new(ready=1, notes=SERVED), the_spec=spec(replicas=0)),
    "it is at zero": lambda: planned(new(count=0, notes=SERVED), the_spec=spec(replicas=0)),
    "another model rolls out": lambda: planned(old()),
    "another model is under way": lambda: planned(old(), new(), pods=(pod(NEW),)),
    "the new pod is ready": lambda: planned(old(), new(ready=1)),
    "the old pod makes room": lambda: planned(
        old(),
        new(),
        pods=(pod(OLD, "p0", phase="Running"), pod(NEW, **unschedulable(NO_GPU, seconds=30))),
    ),
    "the old pod will make room in a moment": lambda: planned(
        old(),
        new(),
        pods=(pod(OLD, "p0", phase="Running"), pod(NEW, **unschedulable(NO_GPU, seconds=5))),
    ),
    "the new one has served and the old one is drained": lambda: planned(
        old(ready=0, count=0), new(ready=1, notes=SERVED)
    ),
    "the new one is overdue": lambda: planned(old(), new(age=1801)),
    "the new one was rolled back and the old one returns": lambda: planned(
        old(ready=0, count=0), new(count=0, notes=FAILED)
    ),
    "the new one was rolled back": lambda: planned(old(), new(count=0, notes=FAILED)),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_is_told(situation: str, snapshot: SnapshotAssertion) -> None:
    text = told(SITUATIONS[situation]())

    named = text.replace(revision_hash(OLD), "OLD").replace(revision_hash(NEW), "NEW")
    assert named == snapshot
