"""The container runtime: a containerd of the cluster's own, beside any that the machine has.

Its image store lies in the user's cache and outlives the cluster; sockets, running containers and the pod network's
configuration lie in the cluster's folder and go with it.
"""

from __future__ import annotations

import json
import os
import shutil
from functools import cached_property
from pathlib import Path

from hack.cluster.commands import run
from hack.cluster.daemons import Daemon
from hack.cluster.folders import remove_if_empty
from hack.cluster.network import TABLE, write_cni_configuration
from hack.cluster.packages import cni_folder
from hack.cluster.paths import cache_folder

NAMESPACE = "k8s.io"  # where the kubelet looks for images and containers
PAUSE_IMAGE = "modelgarden.dev/pause:1"
PINNED = "io.cri-containerd.pinned=pinned"
CNI_RESULTS = Path("/var/lib/cni/results")
SHARED_FOLDERS = (  # made by containerd and its plugins whatever they are told, and shared with others of the machine
    Path("/run/containerd/s"),
    Path("/run/containerd/fifo"),
    Path("/run/containerd/runc/k8s.io"),
    Path("/run/containerd/runc"),
    Path("/run/containerd"),
    Path("/run/netns"),
    CNI_RESULTS,
    CNI_RESULTS.parent,
)


class Containerd:
    """containerd with its folder in a cluster's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = cache_folder() / "containerd"
        self.socket = folder / "containerd.sock"

    @cached_property
    def daemon(self) -> Daemon:
        """The process. It keeps the proxy variables, since it is what pulls images."""
        proxies = {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}
        return Daemon(
            "containerd",
            self.folder,
            ("containerd", "--config", str(self.folder / "containerd.toml")),
            ready=lambda: run(*self._ctr, "version", check=False).returncode == 0,
            environment=proxies,
        )

    def start(self) -> None:
        """Start it, unless it runs."""
        cni = self.folder / "cni"
        write_cni_configuration(cni, leases=self.folder / "cni-leases")
        (self.folder / "containerd.toml").write_text(self._configuration(cni))
        self.daemon.start()

    def ctr(self, *words: str | Path, check: bool = True) -> str:
        """Run containerd's own client in the kubelet's namespace and return what it prints."""
        return run(*self._ctr, *words, check=check).stdout.strip()

    def images(self) -> list[str]:
        """Return the names of the images in the store."""
        return [
            name for name in self.ctr("images", "ls", "-q").splitlines() if not name.startswith("sha256:")
        ]

    def has_image(self, name: str, label: str = "") -> bool:
        """Tell whether the store has the image, with the label key=value if given."""
        wanted = f"name=={name}"
        if label:
            key, _, value = label.partition("=")
            wanted += f',labels."{key}"=={value}'
        return bool(self.ctr("images", "ls", "-q", wanted))

    def digest(self, name: str) -> str:
        """Return the digest of an image of the store."""
        return self.ctr("images", "ls", f"name=={name}").splitlines()[-1].split()[2]

    def label_image(self, name: str, label: str) -> None:
        """Set the label key=value of an image."""
        self.ctr("images", "label", name, label)

    def remove_untagged_images(self) -> None:
        """Remove what a rebuilt image's name no longer points to; running containers keep their files."""
        rows = [row.split() for row in self.ctr("images", "ls").splitlines()[1:]]
        tagged = {digest for name, _, digest, *_ in rows if not name.startswith("sha256:")}
        for name, _, digest, *_ in rows:
            if digest not in tagged:
                self.ctr("images", "remove", "--sync", name, check=False)

    def import_archive(self, archive: Path) -> list[str]:
        """Import an OCI or Docker archive and return the names of its images."""
        before = set(self.images())
        printed = self.ctr("images", "import", "--all-platforms", archive)
        named = [
            word
            for line in printed.splitlines()
            for word in line.split()[1:2]
            if line.startswith("unpacking")
        ]
        return named or sorted(set(self.images()) - before)

    def remove_containers(self) -> None:
        """End and remove every container and its network namespace, whatever state they are in."""
        for task in self.ctr("tasks", "ls", "-q").split():
            self.ctr("tasks", "delete", "--force", task, check=False)
        for container in self.ctr("containers", "ls", "-q").split():
            namespace = self._network_namespace(container)
            self.ctr("containers", "delete", container, check=False)
            (CNI_RESULTS / f"{TABLE}-{container}-eth0").unlink(missing_ok=True)
            (CNI_RESULTS / f"cni-loopback-{container}-lo").unlink(missing_ok=True)
            if namespace:
                run("umount", namespace, check=False)
                namespace.unlink(missing_ok=True)
        for kind in ("containers", "sandboxes"):  # CRI's own notes on them, which it would else take up again
            shutil.rmtree(self.store / "io.containerd.grpc.v1.cri" / kind, ignore_errors=True)

    def remove_traces(self) -> None:
        """Remove the empty folders that it leaves outside the cluster's."""
        for folder in SHARED_FOLDERS:
            remove_if_empty(folder)

    @property
    def _ctr(self) -> tuple[str | Path, ...]:
        return ("ctr", "--address", self.socket, "--namespace", NAMESPACE)

    def _network_namespace(self, container: str) -> Path | None:
        spec = json.loads(self.ctr("containers", "info", container)).get("Spec") or {}
        if spec.get("annotations", {}).get("io.kubernetes.cri.container-type") != "sandbox":
            return None
        paths = [one.get("path") for one in spec["linux"]["namespaces"] if one["type"] == "network"]
        return Path(paths[0]) if paths and paths[0] else None

    def _configuration(self, cni: Path) -> str:
        # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc else dies with "can't get final child's PID from pipe".
        return f"""version = 2
root = "{self.store}"
state = "{self.folder / "containerd"}"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{self.socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{self.folder / "opt"}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_folder()}"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{self.folder / "runc"}"
"""
