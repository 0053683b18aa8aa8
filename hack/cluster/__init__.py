"""A real Kubernetes on one bare Linux machine, for the demo and the tests, without Docker and without an image registry.

    python3 hack/cluster --help                              the command line; needs Python 3.11 and, to build, Go
    from hack.cluster import start_control_plane, start_s3   what tests start themselves (repository root on sys.path)

Three tiers: a control plane alone (integration tests), the same with KWOK's fake nodes (scale tests), and the full
cluster with kubelet, containerd and images (demo, e2e tests), which needs root.
"""

from hack.cluster.control_plane import ControlPlane, start_control_plane
from hack.cluster.errors import ClusterError
from hack.cluster.s3 import S3Server, start_s3

__all__ = ["ClusterError", "ControlPlane", "S3Server", "start_control_plane", "start_s3"]
