"""The real Kueue beside the real control plane and the operator; the nodes that run the pods are played."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.cluster import ControlPlane
from tests.integration.conftest import (
    api,
    cluster,
    garden,
    namespace,
    node,
    operator,
    pytest_runtest_makereport,
    s3,
)
from tests.kueue.kueue import Kueue

__all__ = ["api", "cluster", "garden", "namespace", "node", "operator", "pytest_runtest_makereport", "s3"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.kueue)


@pytest.fixture(scope="session")
def kueue(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kueue]:
    """Kueue, with what it asks of every Job in place."""
    started = Kueue(cluster, tmp_path_factory.mktemp("kueue"))
    try:
        started.start()
        yield started
    finally:
        started.stop()
