"""The two images that no Dockerfile makes and no registry has to give: a minimal Debian to build on, and pause."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hack.cluster import binaries, progress
from hack.cluster.commands import output, run
from hack.cluster.containerd import PAUSE_IMAGE, PINNED, Containerd
from hack.cluster.errors import ClusterError
from hack.cluster.oci import write_archive

DEBIAN = "bookworm"
BASE_IMAGE = f"modelgarden.dev/debian:{DEBIAN}-slim"
DEBIAN_SOURCES = (
    f"http://deb.debian.org/debian {DEBIAN} main",
    f"http://deb.debian.org/debian {DEBIAN}-updates main",
    f"http://deb.debian.org/debian-security {DEBIAN}-security main",
)


def ensure_pause_image(containerd: Containerd) -> None:
    """Import the image of every pod's first container, unless the store has it."""
    if containerd.has_image(PAUSE_IMAGE):
        return
    with progress.step("make the pause image"), tempfile.TemporaryDirectory(dir=containerd.folder) as scratch:
        root = Path(scratch) / "root"
        root.mkdir()
        shutil.copy2(binaries.path("pause"), root / "pause")
        _import(containerd, root, PAUSE_IMAGE, Path(scratch), entrypoint=["/pause"])
        containerd.label_image(PAUSE_IMAGE, PINNED)


def ensure_base_image(containerd: Containerd) -> None:
    """Make a minimal Debian through debootstrap and import it, unless the store has it."""
    if containerd.has_image(BASE_IMAGE):
        return
    check_disk(containerd, 2, BASE_IMAGE)
    with progress.step("make the base image"), tempfile.TemporaryDirectory(dir=containerd.folder) as scratch:
        root = Path(scratch) / "root"
        sources = _debian_sources()
        mirror = sources[0].split()[0]
        run(
            "debootstrap",
            "--variant=minbase",
            DEBIAN,
            root,
            mirror,
            log=containerd.folder / "logs" / "debootstrap.log",
        )
        (root / "etc/apt/sources.list").write_text("".join(f"deb {source}\n" for source in sources))
        proxies = output(
            "apt-config", "dump", "--format", '%f "%v";%n', "Acquire::http::Proxy", "Acquire::https::Proxy"
        )
        if proxies:
            (root / "etc/apt/apt.conf.d/90host-proxy").write_text(proxies + "\n")
        for leftover in (root / "var/cache/apt/archives", root / "var/lib/apt/lists"):
            shutil.rmtree(leftover)
            (leftover / "partial").mkdir(parents=True)
        _import(containerd, root, BASE_IMAGE, Path(scratch))


def _debian_sources() -> tuple[str, ...]:
    """Return the host's own package sources where it is the same Debian, which may be a mirror; else Debian's."""
    lines = output(
        "apt-get",
        "indextargets",
        "--format",
        "$(SITE) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
        check=False,
    ).splitlines()
    same = [
        line for line in dict.fromkeys(lines) if line.split()[1:2] and line.split()[1].split("-")[0] == DEBIAN
    ]
    main = [line for line in same if line.split()[1:] == [DEBIAN, "main"]]
    return tuple(main + [line for line in same if line not in main]) if main else DEBIAN_SOURCES


def check_disk(containerd: Containerd, gib: int, name: str) -> None:
    """Raise ClusterError that says how much is missing where the image store has less than `gib` GiB free."""
    free = shutil.disk_usage(containerd.store).free / 2**30
    if free < gib:
        raise ClusterError(
            f"{name} needs {gib} GiB of free disk to build and {containerd.store} has {free:.1f}: free"
            f" {gib - free:.1f} GiB, or move the cache with XDG_CACHE_HOME"
        )


def _import(
    containerd: Containerd, root: Path, name: str, scratch: Path, entrypoint: list[str] | None = None
) -> None:
    archive = scratch / "image.tar"
    write_archive(root, name, archive, entrypoint=entrypoint)
    containerd.import_archive(archive)
