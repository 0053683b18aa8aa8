"""Locks between processes, so that two commands at once neither build the same thing twice nor start a cluster twice."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from hack.cluster import progress
from hack.cluster.paths import cache_folder


@contextlib.contextmanager
def machine_lock(name: str) -> Iterator[None]:
    """Hold the lock `name` of this user on this machine; the kernel frees it when the process ends."""
    path: Path = cache_folder() / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say(f"waiting for another command that holds the lock {path}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
