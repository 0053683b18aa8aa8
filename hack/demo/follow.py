"""Follow the two resources until the model answers, saying what their status says."""

from __future__ import annotations

import json
import time
from typing import Any

from hack.demo.environment import Environment, Say
from hack.demo.errors import DemoError

POLL_SECONDS = 5.0
"""A look costs half a second of a core, which training can use better."""

Resource = dict[str, Any]


def condition(resource: Resource, kind: str) -> Resource:
    """Return the condition of a type, or an empty mapping."""
    conditions = resource.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind), {})


def get(environment: Environment, namespace: str, kind: str, name: str) -> Resource:
    """Return a resource as the API server has it."""
    loaded: Resource = json.loads(environment.kubectl("-n", namespace, "get", kind, name, "-o", "json"))
    return loaded


def wait_for_job(
    environment: Environment, namespace: str, name: str, *, timeout: float, say: Say
) -> Resource:
    """Wait until a FineTuneJob is complete and return it.

    Raises:
        DemoError: the job failed, or did not end in time; the message is its condition's.
    """
    deadline = time.monotonic() + timeout
    while True:
        job = get(environment, namespace, "finetunejobs.modelgarden.dev", name)
        if condition(job, "Complete").get("status") == "True":
            return job
        failed = condition(job, "Failed")
        if failed.get("status") == "True":
            raise DemoError(f"FineTuneJob {name} failed ({failed['reason']}): {failed['message']}")
        say(job_line(job))
        _pause_until(deadline, f"FineTuneJob {name} did not complete: {job_line(job)}")


def wait_for_deployment(
    environment: Environment, namespace: str, name: str, *, artifact: str, timeout: float, say: Say
) -> Resource:
    """Wait until a ModelDeployment serves the artifact with every replica, and return it.

    Raises:
        DemoError: it did not become ready in time.
    """
    deadline = time.monotonic() + timeout
    while True:
        deployment = get(environment, namespace, "modeldeployments.modelgarden.dev", name)
        status = deployment.get("status", {})
        current = status.get("observedGeneration") == deployment["metadata"]["generation"]
        wanted = status.get("artifact", {}).get("uri") == artifact
        rolled_out = condition(deployment, "Progressing").get("reason") == "RolledOut"
        if current and wanted and rolled_out and condition(deployment, "Ready").get("status") == "True":
            return deployment
        line = deployment_line(deployment)
        say(line)
        _pause_until(deadline, f"ModelDeployment {name} did not become ready: {line}")


def wait_for_serving_carbon(
    environment: Environment, before: Resource, *, tokens: int, timeout: float
) -> Resource:
    """Wait until the status counts the energy of so many more generated tokens, and return the ModelDeployment.

    Raises:
        DemoError: it did not in time.
    """
    deadline = time.monotonic() + timeout
    namespace, name = before["metadata"]["namespace"], before["metadata"]["name"]
    while True:
        deployment = get(environment, namespace, "modeldeployments.modelgarden.dev", name)
        if tells_of(deployment, tokens, since=before):
            return deployment
        _pause_until(
            deadline, f"the status of ModelDeployment {name} does not count the energy of its answers"
        )


def tells_of(deployment: Resource, tokens: int, *, since: Resource) -> bool:
    """Tell whether the status counts the energy of so many more generated tokens than an earlier one."""
    now, then = (
        one.get("status", {}).get("carbon", {}).get("generatedTokens", 0) for one in (deployment, since)
    )
    return bool(now >= then + tokens)


def job_line(job: Resource) -> str:
    """Return one line on a FineTuneJob: phase, progress, or what keeps it."""
    status = job.get("status", {})
    phase, progress = status.get("phase", "Pending"), status.get("progress", {})
    if phase == "Training" and progress.get("totalSteps"):
        loss = f", loss {progress['loss']}" if "loss" in progress else ""
        left = f", {progress['etaSeconds']} s left" if progress.get("etaSeconds") else ""
        return f"{progress['stage']} {progress['step']}/{progress['totalSteps']}{loss}{left}"
    return f"{phase}: {_reason(job, ('Running', 'DatasetReady', 'Accepted'), phase=phase)}"


def deployment_line(deployment: Resource) -> str:
    """Return one line on a ModelDeployment: phase and what it waits for."""
    phase = deployment.get("status", {}).get("phase", "Pending")
    kinds = ("Progressing", "Ready", "ModelResolved", "Accepted")
    return f"{phase}: {_reason(deployment, kinds, phase=phase)}"


def _reason(resource: Resource, kinds: tuple[str, ...], *, phase: str) -> str:
    for kind in kinds:
        found = condition(resource, kind)
        if found:
            said = str(found["message"])
            return said if found["reason"] == phase else f"{found['reason']}: {said}"
    return "no status yet"


def _pause_until(deadline: float, message: str) -> None:
    if time.monotonic() > deadline:
        raise DemoError(message)
    time.sleep(POLL_SECONDS)
