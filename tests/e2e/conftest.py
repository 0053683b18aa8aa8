"""The local cluster with the real images; brought up by the demo itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hack.demo import environment as environments
from hack.demo.environment import Environment

ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell of what a library leaves open without ending a test of many minutes for it; the other tiers do end."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("default::pytest.PytestUnraisableExceptionWarning"))
            item.add_marker(pytest.mark.filterwarnings("default::ResourceWarning"))


@pytest.fixture(scope="session")
def report() -> dict[str, Any]:
    """Run the main job as a person would and return its report."""
    done = subprocess.run(
        [sys.executable, "-m", "hack.demo", "run"], cwd=ROOT, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, "the demo failed; its message stands above"
    loaded: dict[str, Any] = json.loads((ROOT / ".demo" / "report.json").read_text())
    return loaded


@pytest.fixture(scope="session")
def environment(report: dict[str, Any]) -> Environment:
    """The cluster that the demo left up."""
    return environments.prepare(print)
