"""Removing folders of a cluster with care: what is mounted below is not ours to delete."""

from __future__ import annotations

from pathlib import Path

from hack.cluster.commands import run
from hack.cluster.errors import ClusterError


def remove_if_empty(folder: Path) -> None:
    """Remove the folder unless it is in use or not there."""
    try:
        folder.rmdir()
    except OSError:
        return


def remove_unmounted(path: Path) -> None:
    """Unmount what is mounted below `path` and remove it. Raises ClusterError where something of it stays."""
    unmount_below(path)
    run("rm", "-rf", "--", path)


def unmount_below(folder: Path) -> None:
    """Unmount what is mounted below `folder`. Raises ClusterError where something stays mounted."""
    for mount in reversed(_mounts_below(folder)):
        run("umount", mount, check=False)
    for mount in reversed(_mounts_below(folder)):
        run("umount", "--lazy", mount, check=False)
    if left := _mounts_below(folder):
        raise ClusterError(
            f"still mounted below {folder}: {', '.join(left)}; end what uses them and try again"
        )


def _mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].replace("\\040", " ") for line in lines]
    # The kernel names mounts by their real path, and the state folder may lie behind a symbolic link.
    return sorted(point for point in points if point.startswith(f"{folder.resolve()}/"))
