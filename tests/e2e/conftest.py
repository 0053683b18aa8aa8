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
