"""What one command notes for later ones in small JSON files: tier, endpoints, keys, pids, the host's settings.

A note is written whole or not at all, since a command may be killed, or the disk be full, at any moment.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hack.cluster.errors import ClusterError


def write(file: Path, note: Any) -> None:
    """Write a note that only this user may read. Raises ClusterError where that fails; what was there then stays."""
    staged = file.with_name(f".{file.name}.new")
    try:
        staged.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        staged.touch(mode=0o600)
        staged.write_text(json.dumps(note))
        staged.replace(file)
    except OSError as error:
        raise ClusterError(f"cannot write {file}: {error.strerror}") from error


def read(file: Path) -> Any:
    """Return a note, or None where there is none or it is damaged."""
    try:
        return json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return None
