"""The tiers: what is started for each, in which order, and how all of it is taken down again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from hack.cluster import binaries, network, notes, progress
from hack.cluster.base_images import ensure_pause_image
from hack.cluster.containerd import Containerd
from hack.cluster.control_plane import ControlPlane, ControlPlaneOptions, Endpoints
from hack.cluster.daemons import Daemon, stop_recorded
from hack.cluster.errors import ClusterError
from hack.cluster.folders import remove_if_empty, remove_unmounted, unmount_below
from hack.cluster.images import ImageBuilder
from hack.cluster.kwok import FakeNodes, kwok_daemon, start_kwok
from hack.cluster.locks import machine_lock
from hack.cluster.node import Node, remove_traces
from hack.cluster.packages import ensure_packages
from hack.cluster.paths import DEFAULT_NAME, cache_folder, check_socket_paths, state_folder
from hack.cluster.probes import free_ports
from hack.cluster.s3 import S3Server

S3_PORT = 9000
DOWN_SECONDS = 3  # patience with a program whose data goes anyway


class Tier(StrEnum):
    """How much of a cluster."""

    CONTROL_PLANE = "control-plane"
    KWOK = "kwok"
    FULL = "full"


@dataclass(frozen=True)
class Health:
    """One line of `status`."""

    name: str
    pid: int | None
    healthy: bool


class Cluster:
    """A cluster by its name. What tier it is was written down when it was brought up."""

    def __init__(self, name: str = DEFAULT_NAME) -> None:
        self.name = name
        self.folder = state_folder(name)

    @property
    def exists(self) -> bool:
        """Whether it was brought up and not taken down since."""
        return self._note.exists()

    @property
    def tier(self) -> Tier:
        """Its tier, the fullest that it can be where the note is damaged. Raises ClusterError where there is none."""
        if not self.exists:
            raise ClusterError(
                f"there is no cluster {self.name!r}: bring it up with `python3 hack/cluster up`"
            )
        try:
            return Tier(notes.read(self._note)["tier"])
        except (TypeError, KeyError, ValueError):
            return Tier.FULL if self.name == DEFAULT_NAME and os.geteuid() == 0 else Tier.KWOK

    @cached_property
    def control_plane(self) -> ControlPlane:
        """Its control plane."""
        full = self.tier is Tier.FULL
        endpoints = Endpoints.fixed(network.ADDRESS) if full else Endpoints.free()
        options = ControlPlaneOptions(scheduler=self.tier is not Tier.CONTROL_PLANE)
        return ControlPlane(self.folder, endpoints, options)

    @cached_property
    def s3(self) -> S3Server:
        """Its S3 server, which host and pods reach at the same address."""
        full = self.tier is Tier.FULL
        return S3Server(
            self.folder, *((network.ADDRESS, S3_PORT) if full else ("127.0.0.1", free_ports(1)[0]))
        )

    @cached_property
    def containerd(self) -> Containerd:
        """Its container runtime (full tier)."""
        return Containerd(self.folder)

    @cached_property
    def node(self) -> Node:
        """Its real node (full tier)."""
        return Node(self.control_plane, self.containerd.socket)

    @property
    def builder(self) -> ImageBuilder:
        """What builds images into it. Raises ClusterError where it has no container runtime."""
        if self.tier is not Tier.FULL or not self.containerd.daemon.healthy:
            raise ClusterError("images live in the full cluster: bring it up with `python3 hack/cluster up`")
        return ImageBuilder(self.containerd)

    def up(self, tier: Tier, nodes: FakeNodes) -> None:
        """Bring it up, or what is missing of it. Raises ClusterError with what to do."""
        if self.exists and self.tier is not tier:
            raise ClusterError(
                f"cluster {self.name!r} is up as {self.tier}: take it down first, or give another --name"
            )
        start = {
            Tier.CONTROL_PLANE: self._up_control_plane,
            Tier.KWOK: lambda: self._up_kwok(nodes),
            Tier.FULL: self._up_full,
        }
        start[tier]()

    def down(self) -> None:
        """End what it started and remove what it left on the machine; its images stay in the cache."""
        if not self.folder.exists():
            progress.say(f"there is no cluster {self.name!r}")
            return
        if self.exists and self.tier is Tier.FULL:
            _require_root()
            with machine_lock("image-build"):
                self._stop_node()
        with progress.step("stop the control plane"):
            self._stop_recorded("buildkitd", "kwok", "versitygw", "kube-scheduler", "kube-controller-manager")
            self._stop_recorded("kube-apiserver", "etcd")
            remove_unmounted(self.folder)
            remove_if_empty(self.folder.parent)

    def health(self) -> list[Health]:
        """Return the state of its programs."""
        return [Health(daemon.name, daemon.pid, daemon.healthy) for daemon in self._daemons()]

    @property
    def _note(self) -> Path:
        return self.folder / "cluster.json"

    def _daemons(self) -> list[Daemon]:
        daemons = [*self.control_plane.daemons, self.s3.daemon]
        if self.tier is Tier.KWOK:
            daemons.append(kwok_daemon(self.control_plane))
        if self.tier is Tier.FULL:
            daemons += [self.containerd.daemon, *self.node.daemons]
        return daemons

    def _write_note(self, tier: Tier) -> None:
        notes.write(self._note, {"tier": tier})

    def _up_control_plane(self, tier: Tier = Tier.CONTROL_PLANE) -> None:
        binaries.ensure("control-plane")
        self._write_note(tier)
        self.control_plane.start()
        self._start_s3()

    def _up_kwok(self, nodes: FakeNodes) -> None:
        binaries.ensure("scale")
        self._up_control_plane(Tier.KWOK)
        start_kwok(self.control_plane, nodes)

    def _up_full(self) -> None:
        _require_root()
        if self.name != DEFAULT_NAME:
            raise ClusterError(f"there is one full cluster per machine and it is called {DEFAULT_NAME!r}")
        check_socket_paths(self.folder)
        ensure_packages()
        binaries.ensure("node")
        self._write_note(Tier.FULL)
        with progress.step("prepare the network"):
            network.set_up(self.folder)
        self.control_plane.start()
        with progress.step("start containerd"):
            self.containerd.start()
        ensure_pause_image(self.containerd)
        self.node.start()
        self._start_s3()

    def _start_s3(self) -> None:
        with progress.step("start S3 server"):
            self.s3.start()

    def _stop_node(self) -> None:
        with progress.step("stop the node"):
            self._stop_recorded("kubelet", "kube-proxy", "coredns")
        with progress.step("remove the containers"):
            self._stop_recorded("buildkitd")
            unmount_below(cache_folder() / "buildkit")
            self._remove_containers()
            self.containerd.daemon.stop()
            self.containerd.remove_traces()
        with progress.step("restore the network"):
            network.remove(self.folder)
            remove_traces(self.folder)

    def _remove_containers(self) -> None:
        """Remove the containers; without a containerd the rest of the cluster goes all the same."""
        try:
            self.containerd.start()  # if it has died, its containers have not
            self.containerd.remove_containers()
        except (ClusterError, OSError) as error:
            progress.say(f"containers may still run, until this machine restarts: {error}")

    def _stop_recorded(self, *names: str) -> None:
        for name in names:
            stop_recorded(self.folder / "pids" / f"{name}.json", DOWN_SECONDS)


def remove_images() -> None:
    """Remove the image store. Raises ClusterError while the full cluster is up."""
    _require_full_cluster_down("images")
    with progress.step("remove the images"):
        for name in ("containerd", "buildkit"):
            remove_unmounted(cache_folder() / name)


def remove_cache() -> None:
    """Remove all that was made once per machine: programs, images, uv, the tests' environments and models."""
    _require_full_cluster_down("cache")
    with progress.step("remove the cache"):
        for entry in sorted(cache_folder().iterdir()) if cache_folder().exists() else []:
            remove_unmounted(entry)
        remove_if_empty(cache_folder())


def all_clusters() -> list[Cluster]:
    """Return the clusters that are up, or were left half up."""
    parent = state_folder().parent
    return [Cluster(folder.name) for folder in sorted(parent.iterdir())] if parent.exists() else []


def _require_full_cluster_down(what: str) -> None:
    if Cluster().exists:
        raise ClusterError(f"the {what} are in use: take the cluster down first")


def _require_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "the full cluster needs root for its network and its containers: run as root,"
            " or use a cluster that you have with CLUSTER=current"
        )
