"""What the kernel says of this container's memory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

CGROUP: Final = Path("/sys/fs/cgroup")


def memory_limit_bytes(cgroup: Path = CGROUP) -> int | None:
    """Return the memory limit of this container (cgroup v2 or v1), None where there is none."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (cgroup / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 2**60:  # v1 says "none" with a huge number
            return int(text)
    return None


def oom_kills(cgroup: Path = CGROUP) -> int | None:
    """Return how many processes of this container the kernel has killed for want of memory, None where it does not say."""
    for name in ("memory.events", "memory/memory.oom_control"):
        try:
            lines = (cgroup / name).read_text().splitlines()
        except OSError:
            continue
        counts = dict(line.split(maxsplit=1) for line in lines if " " in line)
        if counts.get("oom_kill", "").isdigit():
            return int(counts["oom_kill"])
    return None
