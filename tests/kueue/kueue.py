"""The real Kueue as a process beside the control plane, installed by its own manifests, admission webhooks included.

Its Deployment is replaced by a process of this machine; its Service leads to it, and what a kubelet does with the
certificate that Kueue makes for itself, to put it where the process reads it, is done here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from hack.cluster import ControlPlane, binaries, probes
from hack.cluster.daemons import Daemon
from modelgarden.kube.resources import SECRETS, Resource
from tests.integration.conftest import wait_until_served
from tests.integration.harness.api import Api, Obj
from tests.integration.harness.waiting import wait_for

PROGRAM = "kueue"
NAMESPACE = "kueue-system"
SERVICE, SECRET, CONFIGURATION = "kueue-webhook-service", "kueue-webhook-server-cert", "kueue-manager-config"
_INSTALLED = frozenset(
    {"Namespace", "CustomResourceDefinition", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "Secret"}
)  # fmt: skip
STARTS_SECONDS = 120.0

WORKLOADS = Resource("kueue.x-k8s.io", "v1beta2", "workloads", "Workload")
CLUSTER_QUEUES = Resource("kueue.x-k8s.io", "v1beta2", "clusterqueues", "ClusterQueue")
LOCAL_QUEUES = Resource("kueue.x-k8s.io", "v1beta2", "localqueues", "LocalQueue")
RESOURCE_FLAVORS = Resource("kueue.x-k8s.io", "v1beta2", "resourceflavors", "ResourceFlavor")
PRIORITY_CLASSES = Resource("kueue.x-k8s.io", "v1beta2", "workloadpriorityclasses", "WorkloadPriorityClass")
RESOURCES = {
    one.kind: one for one in (WORKLOADS, CLUSTER_QUEUES, LOCAL_QUEUES, RESOURCE_FLAVORS, PRIORITY_CLASSES)
}


class Kueue:
    """Kueue's manager; it ends with the calling process at the latest."""

    def __init__(self, cluster: ControlPlane, folder: Path) -> None:
        binaries.ensure(PROGRAM)
        self._cluster, self._folder = cluster, folder
        self._webhooks, self._health = probes.free_ports(2)

    def start(self) -> None:
        """Install it, and start it; return once it answers the API server's questions."""
        self._install()
        api = Api(self._cluster.kubeconfig)
        self._configure()
        self.daemon.start(wait=False)

        def certificate() -> dict[str, str]:
            secret = api.get(SECRETS, NAMESPACE, SECRET)
            data: dict[str, str] = (secret or {}).get("data") or {}
            assert self.daemon.pid is not None, f"Kueue has ended; see {self.daemon.log}"
            return data if {"tls.crt", "tls.key"} <= data.keys() else {}

        for name, value in wait_for(certificate, STARTS_SECONDS, what="Kueue's certificate").items():
            (self._certificates / name).write_bytes(base64.b64decode(value))
        self.daemon.wait_ready()

    def stop(self) -> None:
        """End it."""
        self.daemon.stop()

    @cached_property
    def daemon(self) -> Daemon:
        """The process."""
        return Daemon(
            PROGRAM,
            self._folder,
            (
                str(binaries.path(PROGRAM)),
                f"--kubeconfig={self._cluster.kubeconfig}",
                f"--config={self._folder / 'configuration.yaml'}",
                "--feature-gates=VisibilityOnDemand=false",  # a server of its own, below a folder of the root
                "--zap-log-level=3",
            ),
            ready=lambda: probes.http_ok(f"http://127.0.0.1:{self._health}/readyz"),
            start_seconds=STARTS_SECONDS,
            dies_with_parent=True,
        )

    @cached_property
    def _manifests(self) -> list[Obj]:
        text = self._cluster.kubectl("kustomize", str(binaries.manifests(PROGRAM) / "default"))
        return list(yaml.safe_load_all(text))

    @property
    def _certificates(self) -> Path:
        return self._folder / "certificates"

    def _install(self) -> None:
        items = [one for one in self._manifests if one["kind"] in _INSTALLED]
        for one in items:
            for client in _clients_of(one):
                client["service"]["port"] = self._webhooks
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": SERVICE, "namespace": NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        }
        whole = json.dumps({"apiVersion": "v1", "kind": "List", "items": [*items, service]})
        self._cluster.kubectl("apply", "--server-side", "-f", "-", stdin=whole)
        wait_until_served(self._cluster)

    def _configure(self) -> None:
        """Write its configuration: the one that it is installed with, on ports of this machine."""
        (found,) = (one for one in self._manifests if one["metadata"]["name"] == CONFIGURATION)
        (text,) = found["data"].values()
        self._certificates.mkdir(parents=True)
        changed = {
            "health": {"healthProbeBindAddress": f"127.0.0.1:{self._health}"},
            "metrics": {"bindAddress": "0"},
            "webhook": {"host": "localhost", "port": self._webhooks, "certDir": str(self._certificates)},
            "leaderElection": {"leaderElect": False},
        }
        whole = yaml.safe_load(text) | changed
        (self._folder / "configuration.yaml").write_text(json.dumps(whole))


def _clients_of(manifest: Obj) -> Iterator[dict[str, Any]]:
    """Yield what says how the API server reaches a webhook."""
    for one in manifest.get("webhooks", ()):
        yield one["clientConfig"]
    webhook = manifest.get("spec", {}).get("conversion", {}).get("webhook")
    if webhook is not None:
        yield webhook["clientConfig"]
