"""Environments of programs with lock files of their own, in the user's cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from hack.uv import cache_root, uv


def python_of(project: Path, name: str) -> Path:
    """Return the Python of a project's environment, made first where it is not there as a whole."""
    environment = cache_root() / f"{name}-{digest_of(project / 'uv.lock')}"
    complete = environment / "complete"
    if not complete.exists():
        subprocess.run(
            # Compiled once here: else each process spends ten seconds on it where Python may not write bytecode.
            [uv(), "sync", "--quiet", "--locked", "--compile-bytecode", "--project", project],
            env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(environment)},
            check=True,
        )
        complete.touch()
    return environment / "bin" / "python"


def digest_of(*inputs: Path | str) -> str:
    """Return a key for what is made from files and words."""
    parts = [part.read_text() if isinstance(part, Path) else part for part in inputs]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
