"""The command line of the local cluster."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from hack.cluster import binaries, current, progress
from hack.cluster.cluster import Cluster, Tier, all_clusters, remove_cache, remove_images
from hack.cluster.errors import ClusterError
from hack.cluster.images import PROJECT_IMAGES, Image
from hack.cluster.kwok import FakeNodes
from hack.cluster.locks import machine_lock
from hack.cluster.node import fake_gpus
from hack.cluster.paths import DEFAULT_NAME, REPOSITORY

DESCRIPTION = """\
A real one-node Kubernetes on this Linux machine, with an S3 server, without Docker and without an image registry.
The full cluster needs root; a control plane alone does not. With CLUSTER=current the kubeconfig's own cluster is used.

  python3 hack/cluster up                          full cluster: kubelet, containerd, Services, DNS, S3
  export KUBECONFIG=$(python3 hack/cluster kubeconfig)
  python3 hack/cluster up --kwok --name scale      control plane with fake GPU nodes
  python3 hack/cluster up --control-plane-only --name it
  python3 hack/cluster down                        takes everything back but the cached programs and images
"""

PASSED_ON = {"kubectl": "control-plane", "helm": "helm"}  # program -> the set that it is built with


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = _parser().parse_args(argv)
    with ExitStack() as stack:
        progress.use(_progress(arguments.events, stack))
        try:
            command: Callable[[argparse.Namespace], int] = arguments.command
            return command(arguments)
        except ClusterError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted; the same command goes on from here, `down` takes it back", file=sys.stderr)
            return 130


def up(arguments: argparse.Namespace) -> int:
    """Bring a cluster up."""
    if current.chosen():
        current.check()
        return 0
    tier = Tier.CONTROL_PLANE if arguments.control_plane_only else Tier.KWOK if arguments.kwok else Tier.FULL
    cluster = Cluster(arguments.name)
    with machine_lock(f"cluster-{arguments.name}"):
        cluster.up(tier, FakeNodes(count=arguments.nodes, gpus=arguments.gpus))
    progress.say(f"cluster {cluster.name!r} is up: export KUBECONFIG={cluster.control_plane.kubeconfig}")
    return 0


def down(arguments: argparse.Namespace) -> int:
    """Take a cluster down."""
    if current.chosen():
        progress.say("CLUSTER=current: the cluster is yours and stays")
        return 0
    with machine_lock(f"cluster-{arguments.name}"):
        Cluster(arguments.name).down()
        if arguments.images:
            remove_images()
    return 0


def purge(_: argparse.Namespace) -> int:
    """Take every cluster down and remove the whole cache."""
    for cluster in all_clusters():
        with machine_lock(f"cluster-{cluster.name}"):
            cluster.down()
    remove_cache()
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Print the cluster's parts; the exit status is 0 only if all are healthy."""
    if current.chosen():
        current.check()
        return 0
    cluster = Cluster(arguments.name)
    print(f"cluster     {cluster.name} ({cluster.tier})")
    health = cluster.health()
    for part in health:
        state = "healthy" if part.healthy else "not ready" if part.pid else "not running"
        print(f"  {part.name:<24} {part.pid or '-':<8} {state}")
    print(f"kubeconfig  {cluster.control_plane.kubeconfig}")
    print(f"S3          {cluster.s3.endpoint}  (keys: python3 hack/cluster s3)")
    print(f"logs        {cluster.folder / 'logs'}")
    healthy = all(part.healthy for part in health)
    if healthy and cluster.tier is not Tier.CONTROL_PLANE:
        print(cluster.control_plane.kubectl("get", "nodes", "-o", "custom-columns=" + _NODE_COLUMNS))
    if healthy and cluster.tier is Tier.FULL:
        print("images      " + "\n            ".join(cluster.containerd.images()))
        healthy = cluster.node.ready()
    return 0 if healthy else 1


def kubeconfig(arguments: argparse.Namespace) -> int:
    """Print the kubeconfig's path."""
    cluster = Cluster(arguments.name)
    print(cluster.control_plane.kubeconfig)
    return 0


def s3(arguments: argparse.Namespace) -> int:
    """Print the S3 server's endpoint and keys as shell variables, or start or stop the server alone."""
    server = Cluster(arguments.name).s3
    if arguments.action == "stop":
        server.stop()
    elif arguments.action == "start":
        server.start()
    else:
        for name, value in server.access.environment().items():
            print(f"export {name}={value}")
    return 0


def build_binaries(arguments: argparse.Namespace) -> int:
    """Build a set of programs."""
    binaries.ensure(arguments.set)
    return 0


def exec_program(arguments: argparse.Namespace) -> int:
    """Replace this process by kubectl or helm, set up for the cluster."""
    cluster = Cluster(arguments.name)
    environment = dict(os.environ)
    if cluster.exists and not current.chosen():
        environment["KUBECONFIG"] = str(cluster.control_plane.kubeconfig)
    binaries.ensure(arguments.set)
    program = str(binaries.path(arguments.program))
    sys.stdout.flush()
    os.execve(program, [program, *arguments.words], environment)  # noqa: S606 -- replaces this process on purpose


def build_image(arguments: argparse.Namespace) -> int:
    """Build one image from a Dockerfile."""
    if current.chosen():
        current.explain_images()
    image = Image(
        arguments.image,
        arguments.dockerfile.resolve(),
        context=arguments.context.resolve(),
        arguments=dict(pair.partition("=")[::2] for pair in arguments.build_arg),
        free_gib=arguments.free_gib,
        target=arguments.target,
    )
    Cluster(arguments.name).builder.build(image)
    return 0


def build_project_images(arguments: argparse.Namespace) -> int:
    """Build the project's images, or the ones named."""
    if current.chosen():
        current.explain_images()
    builder = Cluster(arguments.name).builder
    for image in PROJECT_IMAGES:
        short = image.name.rpartition("/")[2].partition(":")[0]
        if not arguments.images or short in arguments.images:
            builder.build(image)
    return 0


def load_image(arguments: argparse.Namespace) -> int:
    """Import an image archive."""
    if current.chosen():
        current.explain_images()
    cluster = Cluster(arguments.name)
    if cluster.tier is not Tier.FULL:
        raise ClusterError("images live in the full cluster")
    for name in cluster.containerd.import_archive(arguments.archive):
        print(name)
    return 0


def set_fake_gpus(arguments: argparse.Namespace) -> int:
    """Let the real node claim GPUs."""
    fake_gpus(Cluster(arguments.name).control_plane, arguments.count)
    return 0


_NODE_COLUMNS = (
    "NODE:.metadata.name,VERSION:.status.nodeInfo.kubeletVersion,GPUS:.status.allocatable.nvidia\\.com/gpu"
)


def _progress(events: str | None, stack: ExitStack) -> progress.Progress:
    if events is None:
        return progress.Progress(sys.stderr)
    if events == "-":
        return progress.Progress(sys.stderr, sys.stdout)
    return progress.Progress(sys.stderr, stack.enter_context(open(events, "a")))


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default=DEFAULT_NAME, help="which cluster (default: %(default)s)")
    common.add_argument(
        "--events", metavar="FILE", help="also write each step as a JSON line to FILE, or - for stdout"
    )
    parser = argparse.ArgumentParser(
        prog="hack/cluster", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], summary: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, parents=[common], help=summary, description=summary)
        one.set_defaults(command=command)
        return one

    _add_lifecycle(add)
    _add_images(add)
    _add_tools(add)
    return parser


_Add = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


def _add_lifecycle(add: _Add) -> None:
    one = add("up", up, "bring a cluster up, or what is missing of it")
    tier = one.add_mutually_exclusive_group()
    tier.add_argument(
        "--control-plane-only", action="store_true", help="API server, etcd, controllers and S3; no root"
    )
    tier.add_argument("--kwok", action="store_true", help="the same with a scheduler and fake nodes; no root")
    one.add_argument("--nodes", type=int, default=10, help="fake nodes with --kwok (default: %(default)s)")
    one.add_argument("--gpus", type=int, default=1000, help="GPUs of each fake node (default: %(default)s)")
    one = add("down", down, "end a cluster and remove what it left on the machine")
    one.add_argument(
        "--images", action="store_true", help="remove the image store too, which else stays in the cache"
    )
    add(
        "purge",
        purge,
        "take every cluster down and remove the cache: programs, images, uv, what the tests keep",
    )
    add("status", status, "print what runs; exit status 0 only if all is healthy")
    add("kubeconfig", kubeconfig, "print the path of the administrator's kubeconfig")
    one = add("s3", s3, "print the S3 server's access as shell variables, or start or stop it alone")
    one.add_argument("action", nargs="?", choices=("env", "start", "stop"), default="env")
    one = add(
        "fake-gpus", set_fake_gpus, "let the real node claim GPUs that it does not have; 0 takes them away"
    )
    one.add_argument("count", type=int)


def _add_images(add: _Add) -> None:
    one = add(
        "images", build_project_images, "build the project's images into the full cluster, unless up to date"
    )
    one.add_argument("images", nargs="*", help="operator, train, serve (default: all)")
    one = add(
        "build-image", build_image, "build an image with BuildKit into the full cluster, unless up to date"
    )
    one.add_argument("image", help="name of the image, such as example.com/app:dev")
    one.add_argument("--dockerfile", type=Path, required=True)
    one.add_argument("--context", type=Path, default=REPOSITORY, help="default: the repository")
    one.add_argument("--build-arg", action="append", default=[], metavar="KEY=VALUE")
    one.add_argument("--target", default="", help="stage of the Dockerfile")
    one.add_argument("--free-gib", type=int, default=3, help="free disk to ask for (default: %(default)s)")
    one = add("load-image", load_image, "import an OCI or Docker image archive into the full cluster")
    one.add_argument("archive", type=Path)


def _add_tools(add: _Add) -> None:
    one = add("binaries", build_binaries, "build a set of programs from source, unless they are in the cache")
    one.add_argument("set", choices=sorted(binaries.SETS))
    for program, needed in PASSED_ON.items():
        one = add(program, exec_program, f"run {program} against the default cluster")
        one.prefix_chars = "+"  # every word after it is the program's, also those that begin with a dash
        one.set_defaults(program=program, set=needed)
        one.add_argument("words", nargs=argparse.REMAINDER)
