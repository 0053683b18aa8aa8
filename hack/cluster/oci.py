"""Writes an OCI archive of one layer, for the two images that no registry has to give: the base image and pause."""

from __future__ import annotations

import hashlib
import json
import platform
import tarfile
from pathlib import Path

from hack.cluster.commands import run

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def write_archive(root: Path, name: str, archive: Path, *, entrypoint: list[str] | None = None) -> None:
    """Write the folder `root` to `archive` as the image `name`. `archive`'s folder is used for what lies between."""
    layout = archive.parent / f"{archive.name}.layout"
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layer = layout / "layer.tar"
    run("tar", "--numeric-owner", "--xattrs", "--create", "--file", layer, "--directory", root, ".")
    digest, size = _file_digest(layer), layer.stat().st_size
    layer.rename(blobs / digest)
    config = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {
            "Entrypoint": entrypoint,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    layers = [{"mediaType": LAYER, "digest": f"sha256:{digest}", "size": size}]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _blob(blobs, CONFIG, config),
        "layers": layers,
    }
    entry = {**_blob(blobs, MANIFEST, manifest), "annotations": {"io.containerd.image.name": name}}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    with tarfile.open(archive, "w") as tar:
        for file in sorted(layout.iterdir()):
            tar.add(file, arcname=file.name)


def _blob(blobs: Path, media_type: str, content: object) -> dict[str, object]:
    data = json.dumps(content).encode()
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def _file_digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
