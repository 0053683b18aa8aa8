"""Where the demo runs: a local one-node cluster that it builds, or the kubeconfig's current context.

For CLUSTER=current the user provides what a cluster cannot: an S3 service (S3_ENDPOINT, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, S3_BUCKET) and images that its nodes can pull (IMAGE_REGISTRY, IMAGE_TAG).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import binaries
from hack.cluster.cluster import Cluster
from hack.cluster.images import PROJECT_IMAGES
from hack.cluster.paths import DEFAULT_NAME
from hack.demo.errors import DemoError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE_BUCKET = "quickstart"
"""The bucket that the example's manifests name."""
CLUSTERCTL = (sys.executable, str(ROOT / "hack" / "cluster"))

Say = Callable[[str], None]


@dataclass(frozen=True)
class S3Access:
    """The S3 service, as this machine and as the pods reach it."""

    endpoint: str
    pods_endpoint: str
    access_key: str
    secret_key: str
    bucket: str


@dataclass(frozen=True)
class Images:
    """Images of the three parts, as repository:tag."""

    operator: str
    train: str
    serve: str


@dataclass(frozen=True)
class Environment:
    """A cluster and the programs to reach it with."""

    local: bool
    kubectl_program: str
    helm_program: str
    kubeconfig: str | None
    s3: S3Access
    images: Images

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        """Run kubectl and return what it prints.

        Raises:
            DemoError: kubectl failed; the message is what it said.
        """
        return self._run([self.kubectl_program, *args], stdin=stdin)

    def helm(self, *args: str) -> str:
        """Run helm and return what it prints; errors as in kubectl."""
        return self._run([self.helm_program, *args], stdin=None)

    @contextmanager
    def port_forward(self, namespace: str, target: str, port: int) -> Iterator[str]:
        """Forward a local port to a Service or pod and yield its base URL."""
        command = [self.kubectl_program, "-n", namespace, "port-forward", target, f":{port}"]
        with subprocess.Popen(
            command, env=self._variables(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                line = process.stdout.readline() if process.stdout else ""
                if "Forwarding from" not in line:
                    raise DemoError(f"kubectl port-forward {target} failed: {line.strip()}")
                yield f"http://127.0.0.1:{line.split('->')[0].strip().rsplit(':', 1)[1]}"
            finally:
                process.terminate()

    def _variables(self) -> dict[str, str]:
        return {**os.environ, **({"KUBECONFIG": self.kubeconfig} if self.kubeconfig else {})}

    def _run(self, command: list[str], stdin: str | None) -> str:
        done = subprocess.run(
            command, input=stdin, env=self._variables(), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise DemoError(f"{Path(command[0]).name} {' '.join(command[1:4])} failed: {said}")
        return done.stdout


def prepare(say: Say) -> Environment:
    """Bring the cluster up (or check the current one) and return it."""
    return _current() if os.environ.get("CLUSTER") == "current" else _local(say)


def build_images(environment: Environment, say: Say) -> None:
    """Build the three images into the local cluster; elsewhere they come from the user's registry."""
    if environment.local:
        _clusterctl("images", say=say)


def operator_digest() -> str:
    """Return the digest of the operator image in the local cluster."""
    image = next(image for image in PROJECT_IMAGES if image.name.endswith("/operator:dev"))
    return Cluster(DEFAULT_NAME).containerd.digest(image.name)


def tear_down(say: Say) -> None:
    """Stop the local cluster and remove what it left."""
    _clusterctl("down", say=say)


def _clusterctl(*args: str, say: Say) -> None:
    """Run hack/cluster and pass each line of its progress on."""
    lines: list[str] = []
    with subprocess.Popen(
        [*CLUSTERCTL, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            say(line.strip())
    if process.returncode != 0:
        raise DemoError(f"hack/cluster {args[0]} failed:\n" + "\n".join(lines[-15:]))


def _local(say: Say) -> Environment:
    _clusterctl("up", say=say)
    cluster = Cluster(DEFAULT_NAME)
    access = cluster.s3.access
    names = {image.name.rpartition("/")[2].partition(":")[0]: image.name for image in PROJECT_IMAGES}
    return Environment(
        local=True,
        kubectl_program=str(binaries.path("kubectl")),
        helm_program=str(binaries.path("helm")),
        kubeconfig=str(cluster.control_plane.kubeconfig),
        s3=S3Access(access.endpoint, access.endpoint, access.access_key, access.secret_key, EXAMPLE_BUCKET),
        images=Images(**names),
    )


def _current() -> Environment:
    def need(variable: str) -> str:
        value = os.environ.get(variable)
        if not value:
            raise DemoError(
                f"CLUSTER=current needs the environment variable {variable}; see README.md, 'Your own cluster'"
            )
        return value

    def program(name: str) -> str:
        found = shutil.which(name)
        if found is None:
            raise DemoError(f"CLUSTER=current needs {name} on the PATH")
        return found

    registry, tag = need("IMAGE_REGISTRY"), os.environ.get("IMAGE_TAG", "latest")
    endpoint = need("S3_ENDPOINT")
    return Environment(
        local=False,
        kubectl_program=program("kubectl"),
        helm_program=program("helm"),
        kubeconfig=os.environ.get("KUBECONFIG"),
        s3=S3Access(
            endpoint,
            os.environ.get("S3_ENDPOINT_PODS", endpoint),
            need("AWS_ACCESS_KEY_ID"),
            need("AWS_SECRET_ACCESS_KEY"),
            os.environ.get("S3_BUCKET") or EXAMPLE_BUCKET,
        ),
        images=Images(*(f"{registry}/modelgarden-{part}:{tag}" for part in ("operator", "train", "serve"))),
    )
