"""Builds the cluster's programs from the Go module proxy: one group a folder of hack/tools, pinned by its go.mod and go.sum.

Programs that are largely made of the same packages are one group: one call compiles each of those once.
The results lie in the user's cache under a key of the folder, the flags and the Go version, so each is built once per
machine. The Go caches of the build (about 7 GB for all groups) are its own; they go when it has succeeded and stay
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

    The linker sets `version_variables`, in which {version}, {major} and {minor} are those of `versioned_module`. Of that
    module's source the folder `manifests` is kept beside the programs.
    """

    name: str
    packages: dict[str, str]
    version_variables: tuple[str, ...] = ()
    versioned_module: str = ""
    manifests: str = ""

    @property
    def folder(self) -> Path:
        return TOOLS / self.name


_KUBERNETES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "helm": "helm.sh/helm/v4/cmd/helm",
    "coredns": "./coredns",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
    "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
}
GROUPS = (
    Group(
        "kubernetes",
        _KUBERNETES,
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
    Group("fake-gcs-server", {"fake-gcs-server": "github.com/fsouza/fake-gcs-server"}),
    Group("versitygw", {"versitygw": "github.com/versity/versitygw/cmd/versitygw"}),
    Group("pause", {"pause": "."}),
    Group(
        "buildkit",
        {name: f"github.com/moby/buildkit/cmd/{name}" for name in ("buildkitd", "buildctl")},
    ),
    Group("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}),
    Group(
        "kueue",
        {"kueue": "sigs.k8s.io/kueue/cmd/kueue"},
        version_variables=("sigs.k8s.io/kueue/pkg/version.GitVersion={version}",),
        versioned_module="sigs.k8s.io/kueue",
        manifests="config",
    ),
)
_CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "versitygw")
_NODE = ("coredns", "kube-scheduler", "kubelet", "kube-proxy", "pause", "buildkitd", "buildctl")
SETS = {
    "helm": ("helm",),
    "fake-gcs-server": ("fake-gcs-server",),
    "control-plane": _CONTROL_PLANE,
    "integration": (*_CONTROL_PLANE, "helm", "fake-gcs-server"),
    "scale": (*_CONTROL_PLANE, "kube-scheduler", "kwok"),
    "kueue": (*_CONTROL_PLANE, "kueue"),
    "node": (*_CONTROL_PLANE, "helm", *_NODE),
    "all": tuple(name for group in GROUPS for name in group.packages),
}


def ensure(name: str) -> None:
    """Build what is missing of the set `name`. Raises ClusterError where Go is missing, too old or fails."""
    if not _missing(name):
        return
    with machine_lock("go-build"):
        missing = _missing(name)
        if not missing:
            return
        _check_machine()
        for binary in missing:
            _build(binary)
        _remove_go_caches()


def path(binary: str) -> Path:
    """Return where the program `binary` lies, built or not."""
    return _destination(_group(binary)) / binary


def manifests(binary: str) -> Path:
    """Return where the folder of manifests lies that came with the program `binary`."""
    return _destination(_group(binary)) / _group(binary).manifests


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
    for file in sorted(path for path in group.folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(group.folder)}\0".encode() + file.read_bytes())
    digest.update("\0".join([go_version(), *FLAGS, _linker_flags(group), *group.packages.values()]).encode())
    return cache_folder() / "bin" / f"{group.name}-{digest.hexdigest()[:12]}"


def _group(binary: str) -> Group:
    return next(group for group in GROUPS if binary in group.packages)


def _missing(name: str) -> list[str]:
    return [binary for binary in SETS[name] if not path(binary).exists()]


def _build(binary: str) -> None:
    group, built = _group(binary), path(binary)
    built.parent.mkdir(parents=True, exist_ok=True)
    staged, log = built.with_name(f".{binary}.new"), built.with_name("build.log")
    progress.say(f"building {binary}; log: {log}")
    with progress.step(f"build {binary}"):
        argv = ("go", "build", *FLAGS, *CACHE_FLAGS, "-ldflags", _linker_flags(group), "-o", staged)
        run(*argv, group.packages[binary], folder=group.folder, environment=_go_environment(), log=log)
        if group.manifests:
            _keep_manifests(group)
        staged.rename(built)


def _keep_manifests(group: Group) -> None:
    argv = ("go", "list", *CACHE_FLAGS, "-m", "-f", "{{.Dir}}", group.versioned_module)
    source = run(*argv, folder=group.folder, environment=_go_environment()).stdout.strip()
    shutil.copytree(Path(source) / group.manifests, _destination(group) / group.manifests, dirs_exist_ok=True)


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
