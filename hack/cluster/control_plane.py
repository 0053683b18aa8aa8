"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler: a Kubernetes API that needs neither root nor a node.

Used as it is by the integration tests, with KWOK nodes by the scale tests, and below a real node by the full cluster.
Every program has a token and a kubeconfig of its own, so that RBAC is what it is on any cluster.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from hack.cluster import binaries, notes, probes, progress
from hack.cluster.commands import run
from hack.cluster.daemons import Daemon, wait_until
from hack.cluster.errors import ClusterError

LOOPBACK = "127.0.0.1"
SERVICE_CIDR = "10.202.0.0/16"
ADMIN = "admin"
NODE_NAME = "local"
ALL_CONTROLLERS = ("*",)
# kubeconfig name -> (user, group) as the built-in RBAC rules expect them
IDENTITIES = {
    ADMIN: ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kubelet": (f"system:node:{NODE_NAME}", "system:nodes"),
    "kube-proxy": ("system:kube-proxy", ""),
    "coredns": ("system:coredns", ""),
    "kwok": ("kwok", "system:masters"),
}


@dataclass(frozen=True)
class Endpoints:
    """Where a control plane listens and the tokens of its users; stored, so that a restart changes neither."""

    address: str
    etcd: int
    etcd_peer: int
    apiserver: int
    controller_manager: int
    scheduler: int
    tokens: dict[str, str] = field(
        default_factory=lambda: {name: secrets.token_hex(16) for name in IDENTITIES}
    )

    @classmethod
    def free(cls) -> Endpoints:
        """Return loopback endpoints on ports that are free now."""
        etcd, etcd_peer, apiserver, controller_manager, scheduler = probes.free_ports(5)
        return cls(LOOPBACK, etcd, etcd_peer, apiserver, controller_manager, scheduler)

    @classmethod
    def fixed(cls, address: str) -> Endpoints:
        """Return the usual ports on an address that is this cluster's own; etcd stays where no pod reaches it."""
        etcd, etcd_peer = probes.free_ports(2)
        return cls(address, etcd, etcd_peer, 6443, 10257, 10259)


@dataclass(frozen=True)
class ControlPlaneOptions:
    """What differs between the tiers."""

    scheduler: bool = False
    dies_with_parent: bool = False
    controllers: tuple[str, ...] = ALL_CONTROLLERS


class ControlPlane:
    """A Kubernetes control plane in a folder. Its programs are `Daemon`s, which a test may stop and start one by one."""

    def __init__(self, folder: Path, endpoints: Endpoints, options: ControlPlaneOptions) -> None:
        self.folder = folder
        self.endpoints = self._stored(endpoints)
        self.options = options

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://{self.endpoints.address}:{self.endpoints.apiserver}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.kubeconfig_of(ADMIN)

    @property
    def daemons(self) -> list[Daemon]:
        """The programs in the order of their start."""
        optional = [self.scheduler] if self.options.scheduler else []
        return [self.etcd, self.apiserver, self.controller_manager, *optional]

    def kubeconfig_of(self, identity: str) -> Path:
        """Return the kubeconfig of one of the cluster's identities."""
        return self.folder / ("kubeconfig" if identity == ADMIN else f"kubeconfigs/{identity}")

    def start(self) -> None:
        """Start what does not run and wait until the API server answers and namespaces get their service accounts."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_credentials()
        with progress.step("start etcd"):
            self.etcd.start()
        with progress.step("start kube-apiserver"):
            self.apiserver.start()
            self._write_kubeconfigs()
        names = ", ".join(daemon.name for daemon in self.daemons[2:])
        with progress.step(f"start {names}"):
            for daemon in self.daemons[2:]:
                daemon.start(wait=False)
            for daemon in self.daemons[2:]:
                daemon.wait_ready()
            if not wait_until(self._default_account_exists, 30):
                raise ClusterError(f"the controller manager does not work; see {self.controller_manager.log}")

    def stop(self) -> None:
        """End the programs, clients before servers; the data stays."""
        for daemon in reversed(self.daemons):
            daemon.stop()

    def kubectl(self, *words: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl as the administrator and return what it prints."""
        options = (f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.folder / 'kubectl-cache'}")
        return run(binaries.path("kubectl"), *options, *words, stdin=stdin, check=check).stdout.strip()

    @cached_property
    def etcd(self) -> Daemon:
        """The store."""
        at, client, peer = LOOPBACK, self.endpoints.etcd, self.endpoints.etcd_peer
        return self._daemon(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls=http://{at}:{client}",
            f"--advertise-client-urls=http://{at}:{client}",
            f"--listen-peer-urls=http://{at}:{peer}",
            f"--initial-advertise-peer-urls=http://{at}:{peer}",
            f"--initial-cluster=default=http://{at}:{peer}",
            "--unsafe-no-fsync",  # a test cluster's data need not survive a power cut
            "--quota-backend-bytes=4294967296",
            "--auto-compaction-retention=5m",
            "--log-level=warn",
            health=f"http://{at}:{client}/health",
            stop_seconds=2,  # it would wait for its clients' connections; its log is written by then
        )

    @cached_property
    def apiserver(self) -> Daemon:
        """The API server, which makes its own certificate."""
        here, at = self.folder, self.endpoints
        loopback = ["--endpoint-reconciler-type=none"] if at.address == LOOPBACK else []
        return self._daemon(
            "kube-apiserver",
            f"--etcd-servers=http://{LOOPBACK}:{at.etcd}",
            f"--bind-address={at.address}",
            f"--advertise-address={at.address}",
            f"--secure-port={at.apiserver}",
            f"--cert-dir={here / 'certificates'}",
            f"--token-auth-file={here / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={here / 'service-account.key'}",
            f"--service-account-signing-key-file={here / 'service-account.key'}",
            "--kubelet-preferred-address-types=InternalIP",  # else it looks the node's name up in DNS
            "--allow-privileged=true",
            "--profiling=false",
            *loopback,
            "--max-requests-inflight=1600",
            "--max-mutating-requests-inflight=800",
            health=f"{self.url}/readyz",
            token=at.tokens[ADMIN],
            stop_seconds=3,  # it would wait a minute for its clients' watches to end
        )

    @cached_property
    def controller_manager(self) -> Daemon:
        """The controllers of Jobs, Deployments, namespaces and so on."""
        port = self.endpoints.controller_manager
        return self._client(
            "kube-controller-manager",
            port,
            "--use-service-account-credentials",
            f"--controllers={','.join(self.options.controllers)}",
            f"--root-ca-file={self._certificate}",
            f"--service-account-private-key-file={self.folder / 'service-account.key'}",
        )

    @cached_property
    def scheduler(self) -> Daemon:
        """The scheduler."""
        return self._client("kube-scheduler", self.endpoints.scheduler)

    @property
    def _certificate(self) -> Path:
        return self.folder / "certificates" / "apiserver.crt"

    def _client(self, name: str, port: int, *flags: str) -> Daemon:
        kubeconfig = self.kubeconfig_of(name)
        return self._daemon(
            name,
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--bind-address={self.endpoints.address}",
            f"--secure-port={port}",
            "--leader-elect=false",  # with a lease it would end whenever the API server is away
            "--kube-api-qps=1000",  # the default of 20 slows the start and would be what a scale test measures
            "--kube-api-burst=2000",
            *flags,
            health=f"https://{self.endpoints.address}:{port}/healthz",
        )

    def _daemon(
        self, name: str, *flags: str, health: str, token: str | None = None, stop_seconds: float = 20
    ) -> Daemon:
        return Daemon(
            name,
            self.folder,
            (str(binaries.path(name)), *flags),
            ready=lambda: probes.http_ok(health, token),
            stop_seconds=stop_seconds,
            dies_with_parent=self.options.dies_with_parent,
        )

    def _stored(self, endpoints: Endpoints) -> Endpoints:
        file = self.folder / "endpoints.json"
        if known := notes.read(file):
            return Endpoints(**known)
        notes.write(file, asdict(endpoints))
        return endpoints

    def _write_credentials(self) -> None:
        key = self.folder / "service-account.key"
        if not key.exists():
            run("openssl", "genrsa", "-out", key, "2048")
        tokens = self.folder / "tokens.csv"
        tokens.touch(mode=0o600)
        rows = [
            f'{self.endpoints.tokens[name]},{user},{user},"{group}"'
            for name, (user, group) in IDENTITIES.items()
        ]
        tokens.write_text("\n".join(rows) + "\n")

    def _write_kubeconfigs(self) -> None:
        authority = base64.b64encode(self._certificate.read_bytes()).decode()
        for name in IDENTITIES:
            file = self.kubeconfig_of(name)
            file.parent.mkdir(exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(
                json.dumps(_kubeconfig(self.url, authority, self.endpoints.tokens[name]), indent=2)
            )

    def _default_account_exists(self) -> bool:
        return "serviceaccount" in self.kubectl(
            "get", "serviceaccount", "default", "-n", "default", "-o", "name", check=False
        )


def start_control_plane(
    folder: Path, *, scheduler: bool = False, controllers: tuple[str, ...] = ALL_CONTROLLERS
) -> ControlPlane:
    """Start a control plane on free loopback ports with its data in `folder`, for a test session.

    It ends with the calling process at the latest. Raises ClusterError where a program does not start.
    """
    binaries.ensure("scale" if scheduler else "control-plane")
    options = ControlPlaneOptions(scheduler=scheduler, dies_with_parent=True, controllers=controllers)
    control_plane = ControlPlane(folder, Endpoints.free(), options)
    try:
        control_plane.start()
    except ClusterError:
        control_plane.stop()
        raise
    return control_plane


def _kubeconfig(url: str, authority: str, token: str) -> dict[str, object]:
    name = "modelgarden"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority-data": authority}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
