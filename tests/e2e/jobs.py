"""The quickstart's FineTuneJob made short, for tests that watch one on its way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
import yaml

from hack.demo.environment import ROOT, Environment
from hack.demo.follow import get

NAMESPACE = "quickstart"
RESOURCE = "finetunejobs.modelgarden.dev"
POLL_SECONDS = 1.0
"""A look with kubectl costs half a second of a core, which training can use better."""

T = TypeVar("T")


def wait_for(what: str, probe: Callable[[], T | None], *, timeout: float) -> T:
    """Return what the probe finds; fail where it finds nothing in time."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = probe()
        if found is not None:
            return found
        time.sleep(POLL_SECONDS)
    pytest.fail(f"not in {timeout:.0f} s: {what}")


@contextmanager
def applied(environment: Environment, name: str, **spec: dict[str, Any]) -> Iterator[None]:
    """Apply the quickstart's job under a name of its own, with fields of its spec changed; delete it in the end."""
    documents = yaml.safe_load_all((ROOT / "examples" / "quickstart" / "quickstart.yaml").read_text())
    manifest = next(document for document in documents if document["kind"] == "FineTuneJob")
    manifest["metadata"]["name"] = name
    short = {
        "training": {"epochs": 2, "learningRate": 0.001},
        "output": {"modelName": name},
        "evaluation": {"maxRows": 16},
    }
    for field, value in (*short.items(), *spec.items()):
        manifest["spec"][field] |= value
    environment.kubectl("-n", NAMESPACE, "delete", RESOURCE, name, "--ignore-not-found")
    environment.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    try:
        yield
    finally:
        environment.kubectl("-n", NAMESPACE, "delete", RESOURCE, name)


def status_of(environment: Environment, name: str) -> dict[str, Any]:
    """Return a job's status, empty before the operator has seen it."""
    status: dict[str, Any] = get(environment, NAMESPACE, RESOURCE, name).get("status", {})
    return status


def pods_of(environment: Environment, selector: str) -> list[dict[str, Any]]:
    """Return the namespace's pods with these labels."""
    found = json.loads(environment.kubectl("-n", NAMESPACE, "get", "pods", "-l", selector, "-o", "json"))
    pods: list[dict[str, Any]] = found["items"]
    return pods


def checkpointed(environment: Environment, name: str, step: int) -> dict[str, Any] | None:
    """Return a job's progress once a checkpoint of this step or a later one is complete."""
    progress: dict[str, Any] = status_of(environment, name).get("progress", {})
    return progress if progress.get("checkpointStep", 0) >= step else None
