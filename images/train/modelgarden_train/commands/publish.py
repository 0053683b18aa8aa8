"""The command publish: bring a registered artifact from storage to a hub. Needs a CPU and no base model.

What is published is what was registered: the manifest and every file are held against their SHA-256.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from modelgarden.api.artifact import FileEntry, Manifest
from modelgarden.api.documents import TRAIN_IMAGE
from modelgarden.api.layout import MANIFEST, MODEL_CARD
from modelgarden.api.pods import PublishConfig, TerminationMessage
from modelgarden_pod.config import read_config
from modelgarden_pod.documents import read_document
from modelgarden_pod.errors import UserError
from modelgarden_pod.folder import Folder
from modelgarden_pod.http import json_route, serve_routes
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import download_entries, open_folder, read_or_none
from modelgarden_train.artifact.model_card import Publication, model_card
from modelgarden_train.attempt.progress import ProgressBoard
from modelgarden_train.hub.destination import Destination, Upload, Words
from modelgarden_train.hub.licence import licence_of

PATIENCE: Final = Patience(total=1800.0, longest_delay=120.0)
"""Long, and with a growing wait: what is downloaded here would be downloaded again by the next pod."""


def load_publish_config(file: Path | None) -> PublishConfig:
    """Read the configuration from a file, else from the environment.

    Raises:
        UserError: InvalidConfiguration, there is none or a field is wrong; UpgradeNeeded, this image is too old for it.
    """
    return read_config(PublishConfig, file, reader=TRAIN_IMAGE)


def publish(
    config: PublishConfig, workspace: Path, *, attempt: str, port: int, patience: Patience = PATIENCE
) -> TerminationMessage:
    """Bring the artifact to the hub, and tell on the port what is waited for.

    Raises:
        UserError: AccessDenied, SecretInvalid, InvalidConfiguration, PublishFailed; ArtifactInvalid, what lies in storage
            is not what was registered; or the port is taken.
        TemporaryError: storage or hub does not answer.
        OSError: the disk takes no more.
    """
    hub_patience = patience.apart()
    board = ProgressBoard(attempt, outages=[patience.outage, hub_patience.outage], stage="Loading")
    serve_routes({"/progress": json_route(board.report)}, port=port)
    destination = Destination(config.hub, patience=hub_patience)
    folder = open_folder(config.run_uri, config.storage, patience=patience)
    manifest = _manifest(folder, config)
    wanted = _wanted(manifest, config)
    target = workspace / config.run.uid / "published"
    download_entries(folder, wanted.values(), target)
    board.stage("Uploading")
    card = target / MODEL_CARD
    card.write_text(_card(manifest, config))
    uploads = [Upload(name, target / entry.path, entry.sha256) for name, entry in wanted.items()]
    found = destination.commit([*uploads, Upload(MODEL_CARD, card)], _words(config))
    return TerminationMessage(reason="Published", message=f"{found.url} at commit {found.commit}", hub=found)


def _manifest(folder: Folder, config: PublishConfig) -> Manifest:
    body = read_or_none(folder, MANIFEST)
    where = f"{folder.uri}/{MANIFEST}"
    if body is None:
        raise UserError("ArtifactInvalid", f"{where} is gone; restore it")
    digest = hashlib.sha256(body).hexdigest()
    if digest != config.manifest_sha256:
        raise UserError(
            "ArtifactInvalid",
            f"{where} has SHA-256 {digest}, version {config.version} was registered with {config.manifest_sha256}",
        )
    return read_document(Manifest, body, where=where, reader=TRAIN_IMAGE)


def _wanted(manifest: Manifest, config: PublishConfig) -> dict[str, FileEntry]:
    """Return the files of the format by their names in the repository; the model card is the hub's own."""
    place = manifest.formats.get(config.hub.format)
    if place is None:
        raise UserError("InvalidConfiguration", f"the artifact has no format {config.hub.format}")
    files = {
        entry.path.removeprefix(f"{place}/"): entry
        for entry in manifest.files
        if entry.path.startswith(f"{place}/")
    }
    files.pop(MODEL_CARD, None)
    return files


def _card(manifest: Manifest, config: PublishConfig) -> str:
    known = (
        manifest if config.emissions is None else manifest.model_copy(update={"emissions": config.emissions})
    )
    published = Publication(
        repository=config.hub.repository,
        format=config.hub.format,
        version=config.version,
        manifest_sha256=config.manifest_sha256,
        licence=licence_of(manifest.root.source, manifest.root.revision),
    )
    return model_card(known, published)


def _words(config: PublishConfig) -> Words:
    return Words(
        title=f"Publish {config.model_name} version {config.version}",
        description=f"Run {config.run.uid}, manifest SHA-256 {config.manifest_sha256}, format {config.hub.format}.",
    )
