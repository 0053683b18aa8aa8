"""OCI archives of one layer: what containerd needs to import them, and nothing that it would find damaged."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from hack.cluster.oci import write_archive


class Archive:
    """An OCI archive as a runtime reads it: by digest only."""

    def __init__(self, file: Path) -> None:
        with tarfile.open(file) as tar:
            self.files = {
                member.name: handle.read()
                for member in tar.getmembers()
                if (handle := tar.extractfile(member)) is not None
            }
        self.index = json.loads(self.files["index.json"])

    def blob(self, descriptor: dict[str, Any]) -> bytes:
        """Return a blob that is what its descriptor says."""
        algorithm, _, digest = descriptor["digest"].partition(":")
        content = self.files[f"blobs/{algorithm}/{digest}"]
        assert hashlib.new(algorithm, content).hexdigest() == digest
        assert len(content) == descriptor["size"]
        return content

    def document(self, descriptor: dict[str, Any]) -> dict[str, Any]:
        """Return a blob's JSON."""
        found: dict[str, Any] = json.loads(self.blob(descriptor))
        return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root folder of an image."""
    folder = tmp_path / "root"
    (folder / "etc").mkdir(parents=True)
    (folder / "etc" / "name").write_text("garden")
    program = folder / "pause"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    return folder


@pytest.fixture
def archive(root: Path, tmp_path: Path) -> Archive:
    """The image of that folder."""
    file = tmp_path / "image.tar"
    write_archive(root, "example.com/pause:1", file, entrypoint=["/pause"])
    return Archive(file)


def test_it_is_an_oci_layout_of_one_named_manifest(archive: Archive) -> None:
    assert json.loads(archive.files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (manifest,) = archive.index["manifests"]
    assert manifest["annotations"] == {"io.containerd.image.name": "example.com/pause:1"}


def test_every_descriptor_leads_to_what_it_describes(archive: Archive) -> None:
    manifest = archive.document(archive.index["manifests"][0])
    config = archive.document(manifest["config"])
    (layer,) = manifest["layers"]
    archive.blob(layer)
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"]]}
    assert config["os"] == "linux"
    assert config["config"]["Entrypoint"] == ["/pause"]
    blobs = [name for name in archive.files if name.startswith("blobs/")]
    assert len(blobs) == 3, "the archive carries what nothing refers to"


def test_the_layer_is_the_folder_with_its_modes(archive: Archive) -> None:
    (layer,) = archive.document(archive.index["manifests"][0])["layers"]
    with tarfile.open(fileobj=io.BytesIO(archive.blob(layer))) as tar:
        members = {member.name.removeprefix("./"): member for member in tar.getmembers()}
        name = tar.extractfile(members["etc/name"])
        assert name is not None
        assert name.read() == b"garden"
    assert members["pause"].mode & 0o777 == 0o755
    assert set(members) == {".", "etc", "etc/name", "pause"}


def test_an_image_to_build_on_has_no_entrypoint(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "base.tar"
    write_archive(root, "example.com/debian:1", file)
    archive = Archive(file)
    config = archive.document(archive.document(archive.index["manifests"][0])["config"])
    assert config["config"]["Entrypoint"] is None
