"""S3 goes away under every step at once: before acceptance, in prepare, in training, and before a server's fetch.

MODELGARDEN_E2E_OUTAGE_SECONDS says for how long; CI takes less than the five minutes that the project promises.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from hack.cluster.cluster import Cluster
from hack.cluster.paths import DEFAULT_NAME
from hack.demo.environment import Environment
from hack.demo.follow import condition, get, wait_for_job
from modelgarden.registry.lookups import KEEP_SECONDS
from tests.e2e.jobs import NAMESPACE, RESOURCE, applied, checkpointed, pods_of, status_of, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

OUTAGE_SECONDS = float(os.environ.get("MODELGARDEN_E2E_OUTAGE_SECONDS", "30"))
CHECKPOINT_STEPS = 10
SERVED = "modelgarden.dev/modeldeployment=text-to-sql"
SUSPEND = '{"spec": {"suspend": true}}'


@pytest.fixture
def outage(environment: Environment) -> Iterator[Callable[[], None]]:
    """Takes S3 away; it is back in the end in any case."""
    if not environment.local:
        pytest.skip("the S3 service of another cluster is not ours to stop")
    s3 = Cluster(DEFAULT_NAME).s3
    yield s3.stop
    s3.start()


def told(environment: Environment, name: str, kind: str, reason: str) -> dict[str, Any] | None:
    found = condition(get(environment, NAMESPACE, RESOURCE, name), kind)
    return found if found.get("reason") == reason else None


def ready_pods(environment: Environment) -> set[str]:
    return {
        pod["metadata"]["uid"]
        for pod in pods_of(environment, SERVED)
        for one in pod["status"].get("conditions", [])
        if (one["type"], one["status"]) == ("Ready", "True")
    }


def test_an_outage_of_s3_under_every_step_is_waited_out(
    environment: Environment,
    report: dict[str, Any],
    outage: Callable[[], None],
    figure: Callable[[str], None],
) -> None:
    little = {"cpu": "250m"}
    before = ready_pods(environment)
    assert before
    with ExitStack() as jobs:
        checkpoint = {"everySteps": CHECKPOINT_STEPS, "keep": 2}
        jobs.enter_context(applied(environment, "training", resources=little, checkpoint=checkpoint))
        progress = wait_for(
            "a checkpoint", lambda: checkpointed(environment, "training", CHECKPOINT_STEPS), timeout=600
        )
        jobs.enter_context(applied(environment, "preparing", resources=little))
        prepare = "modelgarden.dev/finetunejob=preparing,modelgarden.dev/step=prepare"
        wait_for("the prepare pod", lambda: pods_of(environment, prepare) or None, timeout=30)

        outage()
        environment.kubectl("-n", NAMESPACE, "delete", "pods", "-l", SERVED, "--wait=false")
        # What S3 answered about the same inputs just before is kept for a moment.
        threading.Event().wait(max(OUTAGE_SECONDS / 2, KEEP_SECONDS))
        jobs.enter_context(applied(environment, "accepted", resources=little))
        wait_for(
            "the outage to be told",
            lambda: told(environment, "accepted", "Accepted", "StorageUnavailable"),
            timeout=20,
        )
        wait_for(
            "the training's word of it",
            lambda: told(environment, "training", "Running", "StorageUnavailable"),
            timeout=300,
        )
        threading.Event().wait(OUTAGE_SECONDS / 2)
        assert status_of(environment, "training").get("phase") == "Training"
        assert not ready_pods(environment) - before
        Cluster(DEFAULT_NAME).s3.start()

        for name in ("preparing", "accepted"):
            wait_for(
                f"the dataset of {name}",
                lambda name=name: told(environment, name, "DatasetReady", "DatasetReady"),  # type: ignore[misc]
                timeout=300,
            )
            # What follows is the training's to show; two more would only take its time.
            environment.kubectl("-n", NAMESPACE, "patch", RESOURCE, name, "--type=merge", "-p", SUSPEND)
        wait_for("the next server", lambda: ready_pods(environment) - before or None, timeout=600)
        done = wait_for_job(environment, NAMESPACE, "training", timeout=1500, say=lambda _: None)["status"]

    figure(
        f"S3 away for {OUTAGE_SECONDS:.0f} s from step {progress['step']}: {len(done['attempts'])} attempt"
    )
    assert len(done["attempts"]) == 1
