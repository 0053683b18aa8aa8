"""A training pod killed in mid-run: the next attempt resumes at the checkpoint and both attempts' energy counts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
import yaml

from hack.demo.environment import ROOT, Environment
from hack.demo.follow import condition, get
from modelgarden.api.artifact import Manifest
from tests.e2e.test_main_job import read

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

NAMESPACE = "quickstart"
NAME = "resume"
CHECKPOINT_STEPS = 10

T = TypeVar("T")


def wait_for(what: str, probe: Callable[[], T | None], *, timeout: float) -> T:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = probe()
        if found is not None:
            return found
        time.sleep(0.5)
    pytest.fail(f"not in {timeout:.0f} s: {what}")


@pytest.fixture
def job(environment: Environment) -> Iterator[dict[str, Any]]:
    """A FineTuneJob like the quickstart's with fewer epochs and frequent checkpoints."""
    documents = yaml.safe_load_all((ROOT / "examples" / "quickstart" / "quickstart.yaml").read_text())
    manifest = next(d for d in documents if d["kind"] == "FineTuneJob")
    manifest["metadata"]["name"] = NAME
    manifest["spec"]["training"] |= {"epochs": 2, "learningRate": 0.001}
    manifest["spec"]["checkpoint"] = {"everySteps": CHECKPOINT_STEPS, "keep": 2}
    manifest["spec"]["output"]["modelName"] = NAME
    manifest["spec"]["evaluation"]["maxRows"] = 16
    environment.kubectl("-n", NAMESPACE, "delete", "finetunejobs.modelgarden.dev", NAME, "--ignore-not-found")
    environment.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    yield manifest
    environment.kubectl("-n", NAMESPACE, "delete", "finetunejobs.modelgarden.dev", NAME)


def test_a_killed_training_pod_resumes_at_its_checkpoint(
    environment: Environment, job: dict[str, Any], figure: Callable[[str], None]
) -> None:
    def current() -> dict[str, Any]:
        status: dict[str, Any] = get(environment, NAMESPACE, "finetunejobs.modelgarden.dev", NAME).get(
            "status", {}
        )
        return status

    def past_the_first_checkpoint() -> dict[str, Any] | None:
        progress = current().get("progress", {})
        return progress if progress.get("checkpointStep", 0) >= CHECKPOINT_STEPS else None

    before = wait_for("the first checkpoint", past_the_first_checkpoint, timeout=600)
    pods = json.loads(
        environment.kubectl(
            "-n",
            NAMESPACE,
            "get",
            "pods",
            "-l",
            f"modelgarden.dev/finetunejob={NAME},modelgarden.dev/step=train",
            "-o",
            "json",
        )
    )["items"]
    killed = pods[0]["metadata"]
    environment.kubectl("-n", NAMESPACE, "delete", "pod", killed["name"], "--wait=false")

    def resumed() -> int | None:
        step = current().get("progress", {}).get("resumedFromStep")
        return int(step) if step is not None else None

    resumed_from = wait_for("the next attempt to resume", resumed, timeout=600)
    figure(f"killed at step {before['step']} or later, resumed from step {resumed_from}")
    assert resumed_from >= before["checkpointStep"]
    assert resumed_from > before["step"] - CHECKPOINT_STEPS

    def complete() -> dict[str, Any] | None:
        found = get(environment, NAMESPACE, "finetunejobs.modelgarden.dev", NAME)
        failed = condition(found, "Failed")
        assert failed.get("status") != "True", failed
        return found["status"] if condition(found, "Complete").get("status") == "True" else None

    status = wait_for("the job to complete", complete, timeout=1500)
    assert len(status["attempts"]) == 2
    manifest = Manifest.model_validate_json(read(environment, status["artifact"]["uri"]))
    attempts = {attempt.id: attempt for attempt in manifest.emissions.attempts}
    assert len(attempts) == 2
    assert attempts[killed["uid"]].energy_joules.total > 0
    assert manifest.emissions.energy_joules.total == sum(a.energy_joules.total for a in attempts.values())
    assert manifest.emissions == type(manifest.emissions).from_dict(status["carbon"])
