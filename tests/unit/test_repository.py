"""Properties of the repository that no linter reports."""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_source_root_does_not_shadow_the_standard_library() -> None:
    spec = importlib.util.find_spec("operator")
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_relative_to(sysconfig.get_path("stdlib"))
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not list((ROOT / "operator").rglob("operator.py"))
