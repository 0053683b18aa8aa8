"""Where the local cluster keeps things.

The cache outlives clusters and checkouts (binaries, images); a state folder belongs to one cluster and goes with it.
Both follow the XDG variables. The state path stays short because Unix sockets in it must fit in 108 characters.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from hack.cluster.errors import ClusterError

TOOLS = Path(__file__).resolve().parents[1] / "tools"
REPOSITORY = Path(__file__).resolve().parents[2]
SOCKET_BUDGET = 60  # characters that the longest socket below a state folder may add to it
SYSTEM_STATE = Path("/var/lib")
DEFAULT_NAME = "default"


def cache_folder() -> Path:
    """Return the folder for what is built once per machine."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelgarden"


def state_folder(name: str = DEFAULT_NAME) -> Path:
    """Return the folder of the cluster called `name`: in /var/lib where root's home folder has a long path."""
    if given := os.environ.get("XDG_STATE_HOME"):
        return Path(given) / "modelgarden" / name
    home = str(Path.home())
    usual = Path(home, ".local", "state", "modelgarden")
    # The sockets are those of the full cluster, which is root's and has the default name.
    fits = os.geteuid() != 0 or _sockets_fit(usual / DEFAULT_NAME)
    own = SYSTEM_STATE / f"modelgarden-{hashlib.sha256(home.encode()).hexdigest()[:8]}"
    return (usual if fits else own) / name


def check_socket_paths(folder: Path) -> None:
    """Raise ClusterError where Unix sockets below `folder` would not fit the kernel's limit."""
    if not _sockets_fit(folder):
        raise ClusterError(
            f"the path {folder} is too long for Unix sockets: set XDG_STATE_HOME to a shorter one"
        )


def _sockets_fit(folder: Path) -> bool:
    return len(str(folder)) + SOCKET_BUDGET <= 108
