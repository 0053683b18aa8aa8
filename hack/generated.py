"""Write generated files, or with --check name those that are not current."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def stale(files: Mapping[Path, str]) -> list[Path]:
    """Return the files that are missing or not current."""
    return [path for path, text in files.items() if not path.exists() or path.read_text() != text]


def main(files: Mapping[Path, str]) -> int:
    """Write the files, or with --check name those that are not current; return the exit status."""
    outdated = stale(files)
    if sys.argv[1:] == ["--check"]:
        for path in outdated:
            print(f"{path.relative_to(ROOT)} is not current; run make crds", file=sys.stderr)
        return 1 if outdated else 0
    for path in outdated:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
    return 0
