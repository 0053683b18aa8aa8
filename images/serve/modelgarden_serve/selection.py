"""Which files make up the model that was resolved, and that they are still the same.

A run's files are named by its manifest, whose SHA-256 the operator recorded; a plain folder's by its listing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath

from modelgarden.api.artifact import Manifest
from modelgarden.api.documents import SERVE_IMAGE
from modelgarden.api.finetunejob import USED_FORMAT
from modelgarden.api.layout import MANIFEST, listing_digest
from modelgarden.api.pods import ServeConfig
from modelgarden_pod.documents import read_document
from modelgarden_pod.errors import ObjectNotFound, UserError
from modelgarden_pod.folder import Folder, StoredFile


@dataclass(frozen=True)
class RemoteFile:
    """One file to fetch."""

    name: str
    """Name below the folder, in storage as on the local disk."""
    bytes: int
    etag: str | None
    sha256: str | None


@dataclass(frozen=True)
class Selection:
    """The files of a model and the folder that they lie in."""

    folder: Folder
    files: tuple[RemoteFile, ...]

    @property
    def bytes(self) -> int:
        """Return the size of all files."""
        return sum(file.bytes for file in self.files)


def select(root: Folder, config: ServeConfig) -> Selection:
    """Return the files of the model at the configured URI; `root` is its folder.

    Raises:
        UserError: ModelNotFound, FormatNotFound, UpgradeNeeded, or ArtifactInvalid where it is not what was resolved.
        TemporaryError: storage does not answer.
    """
    if config.model_uri.endswith(f"/{MANIFEST}"):
        return _of_run(root, config.manifest_sha256)
    return _of_folder(root, config.listing_sha256)


def _of_run(root: Folder, wanted: str | None) -> Selection:
    manifest = _manifest(root, wanted)
    place = manifest.formats.get(USED_FORMAT)
    if place is None:
        raise UserError(
            "FormatNotFound",
            f"the run at {root.uri} has no 16-bit merge; run a FineTuneJob with Merged16Bit in output.formats",
        )
    folder = root.child(place)
    stored = {file.name: file for file in folder.list()}
    files = []
    for entry in manifest.files:
        if entry.path.startswith(f"{place}/"):
            name = entry.path.removeprefix(f"{place}/")
            found = _matching(folder, stored.get(name), name=name, size=entry.bytes)
            files.append(RemoteFile(name=name, bytes=entry.bytes, etag=found.etag, sha256=entry.sha256))
    return _checked(folder, files)


def _manifest(root: Folder, wanted: str | None) -> Manifest:
    try:
        content = root.read(MANIFEST)
    except ObjectNotFound as error:
        raise UserError("ModelNotFound", f"{error.uri} does not exist") from error
    digest = hashlib.sha256(content).hexdigest()
    if wanted is not None and digest != wanted:
        raise UserError(
            "ArtifactInvalid", f"{MANIFEST} of {root.uri} has SHA-256 {digest}, but {wanted} was resolved"
        )
    return read_document(Manifest, content, where=f"{MANIFEST} of {root.uri}", reader=SERVE_IMAGE)


def _matching(folder: Folder, found: StoredFile | None, *, name: str, size: int) -> StoredFile:
    """Hold a file against its entry before a byte of it is fetched."""
    if found is None:
        raise UserError("ArtifactInvalid", f"{folder.uri}/{name} is in the manifest but does not exist")
    if found.bytes != size:
        raise UserError(
            "ArtifactInvalid", f"{folder.uri}/{name} has {found.bytes} bytes, but its manifest says {size}"
        )
    return found


def _of_folder(root: Folder, wanted: str | None) -> Selection:
    stored = root.list()
    if not any(file.name == "config.json" for file in stored):
        raise UserError("ModelNotFound", f"{root.uri} has no config.json, so it is no Hugging Face folder")
    digest = listing_digest((file.name, file.etag or "", file.bytes) for file in stored)
    if wanted is not None and digest != wanted:
        raise UserError(
            "ArtifactInvalid",
            f"the files at {root.uri} have changed since this revision began; the new ones get their own revision",
        )
    return _checked(root, [RemoteFile(file.name, file.bytes, file.etag, None) for file in stored])


def _checked(folder: Folder, files: list[RemoteFile]) -> Selection:
    if not files:
        raise UserError("ArtifactInvalid", f"{folder.uri} names no files")
    for file in files:
        parts = PurePosixPath(file.name).parts
        if file.name.startswith("/") or ".." in parts or not parts or parts[0].startswith(".fetch"):
            raise UserError("ArtifactInvalid", f"{file.name!r} is no name for a file of a model")
    return Selection(folder=folder, files=tuple(files))
