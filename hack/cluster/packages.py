"""The Debian packages below the full cluster. A program that is there already, whoever installed it, is left alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hack.cluster import progress
from hack.cluster.commands import run
from hack.cluster.errors import ClusterError
from hack.cluster.paths import cache_folder

CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
# what must be there -> the package that brings it
PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "nft": "nftables",
    "mount": "mount",
    "debootstrap": "debootstrap",
    "openssl": "openssl",
}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def ensure_packages() -> None:
    """Install what is missing through apt. Raises ClusterError where there is no apt or it fails."""
    missing = _missing()
    if not missing:
        return
    names = " ".join(missing)
    if shutil.which("apt-get") is None:
        raise ClusterError(
            f"missing on this machine: {names}; install them with your distribution's package tool"
        )
    log = cache_folder() / "apt.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with progress.step(f"install {names}"):
        run("apt-get", "update", log=log, environment=environment)
        run("apt-get", "install", "-y", "--no-install-recommends", *missing, log=log, environment=environment)
    if _missing():
        raise ClusterError(
            f"apt-get installed {names}, but {' '.join(_missing())} is still missing; see {log}"
        )


def cni_folder() -> Path:
    """Return where the CNI plugins lie."""
    for folder in CNI_FOLDERS:
        if (folder / "bridge").exists() and (folder / "host-local").exists():
            return folder
    raise ClusterError("the CNI plugins are missing: apt-get install containernetworking-plugins")


def _missing() -> list[str]:
    path = f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"
    packages = {package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None}
    if not any((folder / "bridge").exists() for folder in CNI_FOLDERS):
        packages.add("containernetworking-plugins")
    return sorted(packages)
