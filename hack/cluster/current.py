"""CLUSTER=current: the cluster that the kubeconfig names is the user's own, so nothing is started, stopped or built."""

from __future__ import annotations

import os
import shutil

from hack.cluster import progress
from hack.cluster.commands import run
from hack.cluster.errors import ClusterError
from hack.cluster.images import PROJECT_IMAGES
from hack.cluster.paths import REPOSITORY


def chosen() -> bool:
    """Tell whether the environment asks for the kubeconfig's current cluster."""
    choice = os.environ.get("CLUSTER", "local")
    if choice not in {"local", "current"}:
        raise ClusterError(
            f"CLUSTER is {choice!r}: use `local` (started here) or `current` (your kubeconfig's)"
        )
    return choice == "current"


def check() -> None:
    """Say which cluster is used. Raises ClusterError where it does not answer."""
    if shutil.which("kubectl") is None:
        raise ClusterError("CLUSTER=current needs kubectl in PATH")
    context = run("kubectl", "config", "current-context", check=False)
    if context.returncode != 0:
        raise ClusterError(
            f"CLUSTER=current needs a current context, and kubectl says {context.stderr.strip()!r}: set KUBECONFIG"
            " to the cluster's file, or choose a context with `kubectl config use-context NAME`"
        )
    run("kubectl", "get", "--raw", "/readyz", "--request-timeout=10s")
    progress.say(f"using the kubeconfig's context {context.stdout.strip()!r}; nothing is started or stopped")


def explain_images() -> None:
    """Raise ClusterError that says how the images get into a cluster of the user's own."""
    builds: list[str] = []
    values: list[str] = []
    for image in PROJECT_IMAGES:
        part = image.name.rpartition("/")[2].partition(":")[0]
        name, file = f"REGISTRY/modelgarden-{part}", image.dockerfile.relative_to(REPOSITORY)
        builds += [f"docker build -t {name}:TAG -f {file} .", f"docker push {name}:TAG"]
        values += [f"--set images.{part}.repository={name} --set-string images.{part}.tag=TAG"]
    raise ClusterError(
        "with CLUSTER=current the images come from your registry. Build and push them, for example:\n    "
        + "\n    ".join(builds)
        + "\nand name them to the demo with IMAGE_REGISTRY=REGISTRY and IMAGE_TAG=TAG, to `helm install` with\n    "
        + "\n    ".join(values)
    )
