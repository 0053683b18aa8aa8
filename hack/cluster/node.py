"""The real node: kubelet, kube-proxy and cluster DNS on top of a control plane and containerd. Needs root."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

from hack.cluster import binaries, network, probes, progress
from hack.cluster.control_plane import NODE_NAME, ControlPlane
from hack.cluster.daemons import Daemon, wait_until
from hack.cluster.errors import ClusterError
from hack.cluster.folders import remove_if_empty

GPU = "nvidia.com/gpu"
CLUSTER_DOMAIN = "cluster.local"
KUBELET_HEALTH = 10248
PROXY_HEALTH = 10256
DNS_HEALTH = 10253
CONTAINER_LOG_LINKS = Path("/var/log/containers")  # the kubelet makes these two whatever it is told
DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")

DNS_ROLE = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "system:coredns"},
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["endpoints", "services", "pods", "namespaces"],
                    "verbs": ["list", "watch"],
                },
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": ["list", "watch"],
                },
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "system:coredns"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:coredns",
            },
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}],
        },
    ],
}


class Node:
    """The node called `local`, with its folder in the cluster's."""

    def __init__(self, control_plane: ControlPlane, containerd_socket: Path) -> None:
        self.control_plane = control_plane
        self.folder = control_plane.folder
        self._containerd_socket = containerd_socket

    @property
    def daemons(self) -> list[Daemon]:
        """The programs in the order of their start."""
        return [self.kubelet, self.kube_proxy, self.coredns]

    def start(self) -> None:
        """Start what does not run and wait until the node is Ready and DNS answers."""
        self._write_configurations()
        with progress.step("start kubelet, kube-proxy, coredns"):
            self.control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(DNS_ROLE))
            for daemon in self.daemons:
                daemon.start(wait=False)
            for daemon in self.daemons:
                daemon.wait_ready()
            if not wait_until(self.ready, 60):
                raise ClusterError(f"the node is not Ready after 60 s; see {self.kubelet.log}")

    def stop(self) -> None:
        """End the programs; containers go on until containerd removes them."""
        for daemon in reversed(self.daemons):
            daemon.stop()

    def ready(self) -> bool:
        """Tell whether the node's Ready condition holds."""
        path = '{.status.conditions[?(@.type=="Ready")].status}'
        return (
            self.control_plane.kubectl("get", "node", NODE_NAME, "-o", f"jsonpath={path}", check=False)
            == "True"
        )

    @cached_property
    def kubelet(self) -> Daemon:
        """The node's agent."""
        return self._daemon(
            "kubelet",
            f"--kubeconfig={self.control_plane.kubeconfig_of('kubelet')}",
            f"--config={self.folder / 'kubelet.json'}",
            f"--root-dir={self.folder / 'kubelet'}",
            f"--cert-dir={self.folder / 'kubelet' / 'pki'}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={network.ADDRESS}",
            health=KUBELET_HEALTH,
        )

    @cached_property
    def kube_proxy(self) -> Daemon:
        """What makes Services work."""
        return self._daemon("kube-proxy", f"--config={self.folder / 'kube-proxy.json'}", health=PROXY_HEALTH)

    @cached_property
    def coredns(self) -> Daemon:
        """The pods' name server, on the host."""
        return self._daemon(
            "coredns", "-conf", str(self.folder / "Corefile"), health=DNS_HEALTH, path="ready"
        )

    def _daemon(self, name: str, *flags: str, health: int, path: str = "healthz") -> Daemon:
        url = f"http://127.0.0.1:{health}/{path}"
        return Daemon(
            name, self.folder, (str(binaries.path(name)), *flags), ready=lambda: probes.http_ok(url)
        )

    def _write_configurations(self) -> None:
        (self.folder / "kubelet.json").write_text(json.dumps(self._kubelet_configuration(), indent=2))
        (self.folder / "kube-proxy.json").write_text(json.dumps(self._proxy_configuration(), indent=2))
        (self.folder / "Corefile").write_text(self._corefile())

    def _kubelet_configuration(self) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{self._containerd_socket}",
            # Only this machine reaches the port (network.py); client certificates would need an authority.
            "address": network.ADDRESS,
            "port": network.KUBELET_PORT,
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "healthzPort": KUBELET_HEALTH,
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "oomScoreAdj": 0,  # a lower one needs CAP_SYS_RESOURCE
            "clusterDNS": [network.ADDRESS],
            "clusterDomain": CLUSTER_DOMAIN,
            "podLogsDir": str(_pod_logs(self.folder)),
            "volumePluginDir": str(self.folder / "volume-plugins"),
            # Images have no registry to come back from, and pods none to start without the pause image: on a full disk the
            # kubelet must not collect them. What fills the disk is told that it is full.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "0%",
                "nodefs.inodesFree": "0%",
                "imagefs.available": "0%",
                "imagefs.inodesFree": "0%",
            },
            "evictionPressureTransitionPeriod": "10s",
        }

    def _proxy_configuration(self) -> dict[str, object]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": str(self.control_plane.kubeconfig_of("kube-proxy"))},
            "hostnameOverride": NODE_NAME,
            "clusterCIDR": network.POD_CIDR,
            "conntrack": {"maxPerCore": 0},
            "healthzBindAddress": f"127.0.0.1:{PROXY_HEALTH}",
            "metricsBindAddress": "127.0.0.1:10249",
            "oomScoreAdj": 0,
        }

    def _corefile(self) -> str:
        return f"""
.:53 {{
    bind {network.ADDRESS}
    errors
    ready 127.0.0.1:{DNS_HEALTH}
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {self.control_plane.kubeconfig_of("coredns")}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
    forward . /etc/resolv.conf
    cache 5
}}
"""


def fake_gpus(control_plane: ControlPlane, count: int) -> None:
    """Let the node claim `count` GPUs, so that scarcity and queueing can be tried with real pods; 0 takes them away."""
    key = GPU.replace("/", "~1")
    paths = [f"/status/{part}/{key}" for part in ("capacity", "allocatable")]
    patch = [{"op": "add", "path": path, "value": str(count)} for path in paths]
    control_plane.kubectl(
        "patch", "node", NODE_NAME, "--subresource=status", "--type=json", f"--patch={json.dumps(patch)}"
    )


def remove_traces(cluster: Path) -> None:
    """Remove what the kubelet left outside the cluster's folder: log links, its fixed folder, the pods' cgroups."""
    for link in CONTAINER_LOG_LINKS.glob("*"):
        if link.is_symlink() and str(link.readlink()).startswith(str(_pod_logs(cluster))):
            link.unlink()
    (DEVICE_PLUGINS / "kubelet.sock").unlink(missing_ok=True)
    (DEVICE_PLUGINS / "kubelet_internal_checkpoint").unlink(missing_ok=True)
    for folder in (DEVICE_PLUGINS, DEVICE_PLUGINS.parent, CONTAINER_LOG_LINKS):
        remove_if_empty(folder)
    _remove_cgroups()


def _pod_logs(cluster: Path) -> Path:
    return cluster / "pod-logs"


def _remove_cgroups() -> None:
    root = Path("/sys/fs/cgroup")
    for top in [root / "kubepods", *root.glob("*/kubepods")]:
        for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
            remove_if_empty(folder)
        remove_if_empty(top)
