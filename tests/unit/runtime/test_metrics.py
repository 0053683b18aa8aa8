"""What is counted of the API server's answers."""

from __future__ import annotations

import pytest

from modelgarden.kube.resources import DEPLOYMENTS
from modelgarden.runtime.metrics import Metrics


def counted(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return a sample's value, None where there is no such sample."""
    return metrics.registry.get_sample_value(f"modelgarden_{name}_total", {"kind": "Deployment", **labels})


@pytest.mark.parametrize("verb", ["create", "replace", "apply", "apply_status", "patch", "delete"])
def test_what_changes_something_is_a_write(verb: str) -> None:
    metrics = Metrics()

    metrics.request(DEPLOYMENTS, verb, 200)

    assert counted(metrics, "writes", verb=verb) == 1


@pytest.mark.parametrize("verb", ["get", "list"])
def test_what_only_reads_is_no_write(verb: str) -> None:
    metrics = Metrics()

    metrics.request(DEPLOYMENTS, verb, 200)

    assert counted(metrics, "writes", verb=verb) is None


@pytest.mark.parametrize("status", [0, 409, 503])
def test_what_did_not_go_through_is_an_error_and_no_write(status: int) -> None:
    metrics = Metrics()

    metrics.request(DEPLOYMENTS, "apply", status)

    assert counted(metrics, "writes", verb="apply") is None
    assert counted(metrics, "api_errors", verb="apply", code=str(status)) == 1
