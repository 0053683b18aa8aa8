"""A training pod killed in mid-run: the next attempt resumes at the checkpoint and both attempts' energy counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hack.demo.environment import Environment
from hack.demo.follow import wait_for_job
from modelgarden.api.artifact import Manifest
from tests.e2e.jobs import NAMESPACE, applied, checkpointed, pods_of, status_of, wait_for
from tests.e2e.test_main_job import read

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

NAME = "resume"
CHECKPOINT_STEPS = 10


@pytest.fixture
def job(environment: Environment) -> Iterator[str]:
    """The name of a job with frequent checkpoints."""
    with applied(environment, NAME, checkpoint={"everySteps": CHECKPOINT_STEPS, "keep": 2}):
        yield NAME


def test_a_killed_training_pod_resumes_at_its_checkpoint(
    environment: Environment, job: str, figure: Callable[[str], None]
) -> None:
    before = wait_for(
        "the first checkpoint", lambda: checkpointed(environment, job, CHECKPOINT_STEPS), timeout=600
    )
    (pod,) = pods_of(environment, f"modelgarden.dev/finetunejob={job},modelgarden.dev/step=train")
    killed = pod["metadata"]
    environment.kubectl("-n", NAMESPACE, "delete", "pod", killed["name"], "--wait=false")

    def resumed() -> int | None:
        step = status_of(environment, job).get("progress", {}).get("resumedFromStep")
        return int(step) if step is not None else None

    resumed_from = wait_for("the next attempt to resume", resumed, timeout=600)
    figure(f"killed at step {before['step']} or later, resumed from step {resumed_from}")
    assert resumed_from >= before["checkpointStep"]
    assert resumed_from > before["step"] - CHECKPOINT_STEPS

    status = wait_for_job(environment, NAMESPACE, job, timeout=1500, say=lambda _: None)["status"]
    assert len(status["attempts"]) == 2
    manifest = Manifest.model_validate_json(read(environment, status["artifact"]["uri"]))
    attempts = {attempt.id: attempt for attempt in manifest.emissions.attempts}
    assert len(attempts) == 2
    assert attempts[killed["uid"]].energy_joules.total > 0
    assert manifest.emissions.energy_joules.total == sum(a.energy_joules.total for a in attempts.values())
    assert manifest.emissions == type(manifest.emissions).from_dict(status["carbon"])
