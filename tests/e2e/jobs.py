"""The quickstart's resources under other names, for tests that watch one on its way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
import yaml

from hack.demo import install
from hack.demo.environment import Environment
from hack.demo.follow import get

NAMESPACE = install.NAMESPACE
RESOURCE = "finetunejobs.modelgarden.dev"
DEPLOYMENTS = "modeldeployments.modelgarden.dev"
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
def applied(environment: Environment, name: str, **spec: Any) -> Iterator[None]:
    """Apply the quickstart's job, made short, with fields of its spec changed; delete it in the end."""
    manifest = _quickstart(environment, "FineTuneJob", name)
    short = {
        "training": {"epochs": 2, "learningRate": 0.001},
        "output": {"modelName": name},
        "evaluation": {"maxRows": 16},
    }
    for field, value in (*short.items(), *spec.items()):
        manifest["spec"][field] = (
            manifest["spec"].get(field, {}) | value if isinstance(value, dict) else value
        )
    with _present(environment, RESOURCE, manifest):
        yield


@contextmanager
def served(environment: Environment, name: str) -> Iterator[None]:
    """Serve the result of the job of this name by a ModelDeployment of this name; delete it in the end."""
    manifest = _quickstart(environment, "ModelDeployment", name)
    manifest["spec"]["model"] = {"fineTuneJobRef": {"name": name}}
    with _present(environment, DEPLOYMENTS, manifest):
        yield


def _quickstart(environment: Environment, kind: str, name: str) -> dict[str, Any]:
    documents = yaml.safe_load_all(install.example(environment))
    manifest: dict[str, Any] = next(document for document in documents if document["kind"] == kind)
    manifest["metadata"]["name"] = name
    return manifest


@contextmanager
def _present(environment: Environment, resource: str, manifest: dict[str, Any]) -> Iterator[None]:
    name = manifest["metadata"]["name"]
    environment.kubectl("-n", NAMESPACE, "delete", resource, name, "--ignore-not-found")
    environment.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    try:
        yield
    finally:
        environment.kubectl("-n", NAMESPACE, "delete", resource, name)


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
