"""Fake nodes for the scale tests: KWOK plays the kubelet of thousands of pods that run nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import binaries, notes, probes, progress
from hack.cluster.control_plane import ControlPlane
from hack.cluster.daemons import Daemon

STAGES = Path(__file__).with_name("kwok-stages.yaml")
FAKE = {"kwok.x-k8s.io/node": "fake"}


@dataclass(frozen=True)
class FakeNodes:
    """How many nodes, and what each of them claims to have."""

    count: int = 10
    gpus: int = 1000
    cpus: int = 10_000
    pods: int = 10_000


def kwok_daemon(control_plane: ControlPlane, stages: Path = STAGES) -> Daemon:
    """Return KWOK for the nodes with the annotation `FAKE`; it leaves a real node alone."""
    stored = control_plane.folder / "kwok.port"
    port = notes.read(stored)
    if port is None:
        port = probes.free_ports(1)[0]
        notes.write(stored, port)
    address = f"{control_plane.endpoints.address}:{port}"
    return Daemon(
        "kwok",
        control_plane.folder,
        (
            str(binaries.path("kwok")),
            f"--kubeconfig={control_plane.kubeconfig_of('kwok')}",
            f"--config={stages}",
            "--manage-all-nodes=false",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            f"--server-address={address}",
            "--node-lease-duration-seconds=40",
        ),
        ready=lambda: probes.http_ok(f"http://{address}/healthz"),
        dies_with_parent=control_plane.options.dies_with_parent,
    )


def start_kwok(control_plane: ControlPlane, nodes: FakeNodes = FakeNodes(), stages: Path = STAGES) -> Daemon:
    """Start KWOK and create its nodes. `stages` says what happens to pods; the default runs a Job's pods to success.

    Raises ClusterError where it does not start.
    """
    binaries.ensure("scale")
    kwok = kwok_daemon(control_plane, stages)
    with progress.step(f"start kwok with {nodes.count} nodes"):
        kwok.start()
        items = [_node(f"fake-{number}", nodes) for number in range(nodes.count)]
        control_plane.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        )
        control_plane.kubectl("wait", "node", "-l", "type=kwok", "--for=condition=Ready", "--timeout=120s")
    return kwok


def _node(name: str, nodes: FakeNodes) -> dict[str, object]:
    resources = {
        "cpu": str(nodes.cpus),
        "memory": "100Ti",
        "ephemeral-storage": "100Ti",
        "pods": str(nodes.pods),
        "nvidia.com/gpu": str(nodes.gpus),
    }
    labels = {
        "type": "kwok",
        "kubernetes.io/hostname": name,
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "annotations": FAKE, "labels": labels},
        "status": {"allocatable": resources, "capacity": resources},
    }
