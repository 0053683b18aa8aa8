"""Builds the cluster's programs from the Go module proxy: one group a folder of hack/tools, pinned by its go.mod and go.sum.

The results lie in the user's cache under a key of those two files, the flags and the Go version, so each is built once
per machine. The Go caches of the build (about 7 GB for all groups) are its own; they go when it has succeeded and stay
for the next try when it has not.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hack.cluster import progress
from hack.cluster.commands import output, run
from hack.cluster.errors import ClusterError
from hack.cluster.locks import machine_lock
from hack.cluster.paths import TOOLS, cache_folder

MINIMUM_GO = (1, 26)
FREE_GIB_TO_BUILD = 10
FLAGS = (
    "-trimpath", "-buildvcs=false", "-mod=readonly",
    "-gcflags=all=-dwarf=false",  # the linker drops it anyway, and making it takes an eighth of the build
)  # fmt: skip
CACHE_FLAGS = ("-modcacherw",)  # the module cache is read-only else, and this one goes when the build ends


@dataclass(frozen=True, eq=False)  # hashed by identity: each exists once
class Group:
    """Programs that share a go.mod; `packages` maps the name of each to its Go package.

    The linker sets `version_variables`, in which {version}, {major} and {minor} are those of `versioned_module`.
    """

    name: str
    packages: dict[str, str]
    version_variables: tuple[str, ...] = ()
    versioned_module: str = ""

    @property
    def folder(self) -> Path:
        return TOOLS / self.name


_KUBERNETES = (
    "kube-apiserver",
    "kube-controller-manager",
    "kubectl",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
)
GROUPS = (
    Group("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Group(
        "kubernetes",
        {name: f"k8s.io/kubernetes/cmd/{name}" for name in _KUBERNETES},
        version_variables=tuple(
            f"{package}.{variable}"
            for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
            for variable in (
                "gitVersion={version}",
                "gitMajor={major}",
                "gitMinor={minor}",
                "gitTreeState=clean",
            )
        ),
        versioned_module="k8s.io/kubernetes",
    ),
    Group("versitygw", {"versitygw": "github.com/versity/versitygw/cmd/versitygw"}),
    Group("pause", {"pause": "."}),
    Group("coredns", {"coredns": "."}),
    Group(
        "buildkit",
        {name: f"github.com/moby/buildkit/cmd/{name}" for name in ("buildkitd", "buildctl")},
    ),
    Group("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}),
    Group("helm", {"helm": "helm.sh/helm/v4/cmd/helm"}),
)
SETS = {
    "integration": ("etcd", "kubernetes", "versitygw"),
    "scale": ("etcd", "kubernetes", "versitygw", "kwok"),
    "node": ("etcd", "kubernetes", "versitygw", "pause", "coredns", "buildkit"),
    "helm": ("helm",),
    "all": tuple(group.name for group in GROUPS),
}


def ensure(name: str) -> None:
    """Build what is missing of the set `name`. Raises ClusterError where Go is missing, too old or fails."""
    wanted = [group for group in GROUPS if group.name in SETS[name]]
    if all(_complete(group) for group in wanted):
        return
    with machine_lock("go-build"):
        missing = [group for group in wanted if not _complete(group)]
        if not missing:
            return
        _check_machine()
        for group in missing:
            _build(group)
        _remove_go_caches()


def path(binary: str) -> Path:
    """Return where the program `binary` lies, built or not."""
    group = next(group for group in GROUPS if binary in group.packages)
    return _destination(group) / binary


@cache
def go_version() -> str:
    """Return the version of the Go in PATH, such as "go1.26.8"."""
    if shutil.which("go") is None:
        raise ClusterError(
            "the local cluster is built from Go source: install Go 1.26 or newer (https://go.dev/dl)"
        )
    return output("go", "env", "GOVERSION")


@cache
def _destination(group: Group) -> Path:
    digest = hashlib.sha256()
    for file in sorted(group.folder.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    digest.update("\0".join([go_version(), *FLAGS, _linker_flags(group), *group.packages.values()]).encode())
    return cache_folder() / "bin" / f"{group.name}-{digest.hexdigest()[:12]}"


def _complete(group: Group) -> bool:
    return all((_destination(group) / name).exists() for name in group.packages)


def _build(group: Group) -> None:
    destination = _destination(group)
    destination.mkdir(parents=True, exist_ok=True)
    for name, package in group.packages.items():
        if (destination / name).exists():
            continue
        staged, log = destination / f".{name}.new", destination / "build.log"
        progress.say(f"building {name}; log: {log}")
        with progress.step(f"build {name}"):
            argv = (
                "go",
                "build",
                *FLAGS,
                *CACHE_FLAGS,
                "-ldflags",
                _linker_flags(group),
                "-o",
                staged,
                package,
            )
            run(*argv, folder=group.folder, environment=_go_environment(), log=log)
            staged.rename(destination / name)


def _linker_flags(group: Group) -> str:
    flags = ["-s", "-w"]
    if group.version_variables:
        version = _module_version(group)
        major, minor = version.removeprefix("v").split(".")[:2]
        flags += [
            f"-X {text.format(version=version, major=major, minor=minor)}" for text in group.version_variables
        ]
    return " ".join(flags)


def _module_version(group: Group) -> str:
    found = re.search(
        rf"^\s*{re.escape(group.versioned_module)} (v\S+)",
        (group.folder / "go.mod").read_text(),
        re.MULTILINE,
    )
    if found is None:
        raise ClusterError(f"{group.folder / 'go.mod'} names no version of {group.versioned_module}")
    return found[1]


def _go_environment() -> dict[str, str]:
    caches = cache_folder() / "go"
    own = {"GOMODCACHE": str(caches / "mod"), "GOCACHE": str(caches / "build"), "CGO_ENABLED": "0"}
    return {**os.environ, **own, "GOFLAGS": "", "GOWORK": "off"}


def _check_machine() -> None:
    numbers = re.match(r"go(\d+)\.(\d+)", go_version())
    if numbers is None or (int(numbers[1]), int(numbers[2])) < MINIMUM_GO:
        raise ClusterError(
            f"Go 1.26 or newer is needed to build the local cluster, and this is {go_version()}"
        )
    cache_folder().mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache_folder()).free / 2**30
    if free < FREE_GIB_TO_BUILD:
        raise ClusterError(
            f"{cache_folder()} has {free:.0f} GiB free and the build of the cluster's programs needs"
            f" {FREE_GIB_TO_BUILD}: free some or set XDG_CACHE_HOME to another disk"
        )


def _remove_go_caches() -> None:
    with progress.step("remove the build's caches"):
        shutil.rmtree(cache_folder() / "go", ignore_errors=True)
