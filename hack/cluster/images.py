"""Images of Dockerfiles without a registry, built by BuildKit.

BuildKit works on containerd's own store in the kubelet's namespace, so a built image is where pods look for it. It runs
only during a build. Dockerfiles take `ARG BASE_IMAGE` (here: a debootstrapped Debian) and may mount what the host needs
to reach its package index, all of them optional:
    RUN --mount=type=secret,id=ca,target=/run/host-ca.crt           with ARG SSL_CERT_FILE, set to that path if it is there
        --mount=type=secret,id=index,env=UV_DEFAULT_INDEX           the host's Python package index
        --mount=type=secret,id=uv,target=/etc/uv/uv.toml            the host's uv configuration
        --mount=type=secret,id=pip,target=/etc/pip.conf             the host's pip configuration
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hack.cluster import binaries, probes, progress
from hack.cluster.base_images import BASE_IMAGE, check_disk, ensure_base_image
from hack.cluster.commands import run
from hack.cluster.containerd import NAMESPACE, Containerd
from hack.cluster.daemons import Daemon
from hack.cluster.errors import ClusterError
from hack.cluster.locks import machine_lock
from hack.cluster.paths import REPOSITORY, cache_folder

ROOMY_GIB = (
    35  # with more free disk the build cache stays: images share layers, and the next build takes seconds
)
INPUTS_LABEL = "modelgarden.dev/inputs"
SECRET_CA_PATH = "/run/host-ca.crt"
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
IGNORED = {"__pycache__", ".venv", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


@dataclass(frozen=True)
class Image:
    """An image to build: its name, its Dockerfile, and the free disk that its build takes at its peak."""

    name: str
    dockerfile: Path
    context: Path = REPOSITORY
    arguments: Mapping[str, str] = field(default_factory=dict)
    free_gib: int = 3
    target: str = ""


PROJECT_IMAGES = (
    Image("modelgarden.dev/operator:dev", REPOSITORY / "Dockerfile"),
    Image("modelgarden.dev/train:dev", REPOSITORY / "Dockerfile.train", free_gib=25),
    Image("modelgarden.dev/serve:dev", REPOSITORY / "Dockerfile.serve", free_gib=25),
)


class ImageBuilder:
    """Builds images into the store of a running containerd."""

    def __init__(self, containerd: Containerd) -> None:
        self._containerd = containerd
        self._socket = containerd.folder / "buildkitd.sock"

    def build(self, image: Image) -> bool:
        """Build the image unless the store has one of the same inputs; return whether it was built.

        Raises ClusterError with the build's last lines, or where the disk is too full.
        """
        if not image.dockerfile.is_file():
            raise ClusterError(f"there is no {image.dockerfile}")
        with machine_lock("image-build"):
            ensure_base_image(self._containerd)
            inputs = self._inputs(image)
            if self._containerd.has_image(image.name, f"{INPUTS_LABEL}={inputs}"):
                progress.say(f"{image.name} is up to date")
                return False
            self._daemon.start()
            try:
                self._make_room(image)
                with progress.step(f"build {image.name}"):
                    self._run_build(image)
                self._containerd.label_image(image.name, f"{INPUTS_LABEL}={inputs}")
            finally:
                self._containerd.remove_untagged_images()
                if self._free_gib() < ROOMY_GIB:
                    self._prune()
                self._daemon.stop()
        return True

    def _make_room(self, image: Image) -> None:
        if self._free_gib() < image.free_gib:
            self._prune()
        check_disk(self._containerd, image.free_gib, image.name)

    def _free_gib(self) -> float:
        return shutil.disk_usage(self._containerd.store).free / 2**30

    def _prune(self) -> None:
        with progress.step("remove the build cache"):
            self._buildctl("prune", "--all")
            self._buildctl("prune-histories")

    @cached_property
    def _daemon(self) -> Daemon:
        flags = (
            f"--addr=unix://{self._socket}",
            f"--root={cache_folder() / 'buildkit'}",
            f"--otel-socket-path={self._containerd.folder / 'otel.sock'}",
            "--oci-worker=false",
            "--containerd-worker=true",
            f"--containerd-worker-addr={self._containerd.socket}",
            f"--containerd-worker-namespace={NAMESPACE}",
            "--containerd-worker-net=host",
        )
        proxies = {name: os.environ[name] for name in PROXY_VARIABLES if name in os.environ}
        return Daemon(
            "buildkitd",
            self._containerd.folder,
            (str(binaries.path("buildkitd")), *flags),
            ready=lambda: probes.accepts_unix(self._socket),
            environment=proxies,
        )

    def _run_build(self, image: Image) -> None:
        log = self._containerd.folder / "logs" / f"build-{re.sub(r'[^a-z0-9]+', '-', image.name)}.log"
        progress.say(f"building {image.name}; log: {log}")
        arguments = {"BASE_IMAGE": BASE_IMAGE, **_host_arguments(), **image.arguments}
        words = [
            "build",
            "--progress=plain",
            "--frontend=dockerfile.v0",
            "--opt=image-resolve-mode=local",
            f"--opt=filename={image.dockerfile.name}",
            f"--local=dockerfile={image.dockerfile.parent}",
            f"--local=context={image.context}",
            f"--output=type=image,name={image.name},unpack=true,compression=uncompressed",
            *(f"--opt=build-arg:{key}={value}" for key, value in arguments.items()),
            *([f"--opt=target={image.target}"] if image.target else []),
            *_host_secrets(),
        ]
        log.unlink(missing_ok=True)
        self._buildctl(*words, log=log)

    def _buildctl(self, *words: str, log: Path | None = None) -> None:
        argv: tuple[str | Path, ...] = (binaries.path("buildctl"), f"--addr=unix://{self._socket}", *words)
        run(*argv, log=log, environment={**os.environ, "HOST_INDEX": _host_index()})

    def _inputs(self, image: Image) -> str:
        base = image.arguments.get("BASE_IMAGE", BASE_IMAGE)
        digest = hashlib.sha256(self._containerd.digest(base).encode())
        digest.update(repr((sorted(image.arguments.items()), image.target)).encode())
        files = {str(file.relative_to(image.context)): file for file in context_files(image)}
        # No path of this machine: another checkout of the same sources has the same inputs.
        for name, file in [("", image.dockerfile), *sorted(files.items())]:
            digest.update(f"{name}\0{file.stat().st_mode}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()[:32]


def context_files(image: Image) -> list[Path]:
    """Return the files of the build context that the Dockerfile copies, adds or binds."""
    text = re.sub(r"\\\n", " ", image.dockerfile.read_text())
    files: set[Path] = set()
    for pattern in _copied(text):
        whole = pattern.strip("./") == ""
        for match in [image.context] if whole else image.context.glob(pattern.strip("/")):
            found = match.rglob("*") if match.is_dir() else [match]
            files |= {file for file in found if file.is_file() and not _ignored(file, image.context)}
    return sorted(files)


def _ignored(file: Path, context: Path) -> bool:
    return bool(IGNORED & set(file.relative_to(context).parts))


def _copied(dockerfile: str) -> Iterator[str]:
    for line in dockerfile.splitlines():
        words = line.split()
        instruction = words[0].upper() if words else ""
        flags = [word for word in words if word.startswith("--")]
        if instruction in {"COPY", "ADD"} and not any(flag.startswith("--from=") for flag in flags):
            yield from (
                word for word in words[1:-1] if not word.startswith("--") and not word.startswith("<<")
            )
        for flag in flags if instruction == "RUN" else []:
            options = dict(part.partition("=")[::2] for part in flag.removeprefix("--mount=").split(","))
            if options.get("type") == "bind" and "from" not in options:
                yield options.get("source") or options.get("src") or "."


def _host_arguments() -> dict[str, str]:
    arguments = {name: os.environ[name] for name in PROXY_VARIABLES if os.environ.get(name)}
    if _host_authority():
        arguments["SSL_CERT_FILE"] = SECRET_CA_PATH
    return arguments


def _host_secrets() -> list[str]:
    home = Path.home()
    found: dict[str, list[Path | None]] = {
        "ca": [_host_authority()],
        "uv": [home / ".config/uv/uv.toml", Path("/etc/uv/uv.toml")],
        "pip": [home / ".config/pip/pip.conf", home / ".pip/pip.conf", Path("/etc/pip.conf")],
    }
    secrets = []
    for name, candidates in found.items():
        file = next((file for file in candidates if file is not None and file.is_file()), None)
        if file is not None:
            secrets.append(f"--secret=id={name},src={file}")
    if _host_index():
        secrets.append("--secret=id=index,env=HOST_INDEX")
    return secrets


def _host_authority() -> Path | None:
    named = os.environ.get("SSL_CERT_FILE")
    return Path(named) if named and Path(named).is_file() else None


def _host_index() -> str:
    return next((os.environ[name] for name in INDEX_VARIABLES if os.environ.get(name)), "")
