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


def test_images_import_nothing_of_the_operator_but_its_api() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (ROOT / "images").rglob("*.py")
        if ".venv" not in path.parts
        for line in path.read_text().splitlines()
        if line.strip().startswith(("from modelgarden.", "import modelgarden."))
        and not line.split()[1].startswith("modelgarden.api")
    ]
    assert not found
