"""The artifact that a run has left in S3: its manifest, and whether the files are as the manifest says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from modelgarden.api.artifact import FileEntry, Manifest, RunIdentity, VersionRecord
from modelgarden.api.finetunejob import ArtifactStatus
from modelgarden.api.layout import MANIFEST, Location, registry_uri, run_uri
from modelgarden.registry.errors import Missing, Refused
from modelgarden.registry.sources import read_manifest
from modelgarden.registry.store import Store


@dataclass(frozen=True)
class Candidate:
    """A run that has ended, and the model of the registry that it is to become a version of."""

    run: RunIdentity
    output_uri: str
    model_name: str

    @property
    def folder(self) -> Location:
        """Return the run's folder."""
        return Location.parse(
            run_uri(self.output_uri, namespace=self.run.namespace, job=self.run.name, uid=self.run.uid)
        )

    @property
    def model(self) -> Location:
        """Return the folder of the model's versions and aliases."""
        return Location.parse(
            registry_uri(self.output_uri, namespace=self.run.namespace, model_name=self.model_name)
        )


@dataclass(frozen=True)
class Registration:
    """How far a run's artifact, which matches its manifest, is on its way into the registry."""

    candidate: Candidate
    manifest: Manifest
    manifest_sha256: str
    written: datetime | None
    """When S3 stamped the manifest."""
    record: VersionRecord | None = None
    """The version that it has; None while it is not known to have one."""
    aliases: frozenset[str] = frozenset()
    """Aliases that were moved to it, or that point at a newer version."""

    @property
    def artifact(self) -> ArtifactStatus:
        """Return the artifact as a FineTuneJob's status shows it.

        Raises:
            ValueError: it has no version yet.
        """
        if self.record is None:
            raise ValueError("the artifact has no version yet")
        return ArtifactStatus(
            uri=self.record.manifest,
            manifest_sha256=self.record.manifest_sha256,
            model_name=self.record.model_name,
            version=self.record.version,
            formats=tuple(self.manifest.formats),
            bytes=sum(file.bytes for file in self.manifest.files),
        )


async def has_manifest(store: Store, candidate: Candidate) -> bool:
    """Tell whether the run has left its commit marker.

    Raises:
        StorageError: storage refuses or does not answer.
    """
    return await store.head(candidate.folder.child(MANIFEST)) is not None


async def find(store: Store, candidate: Candidate) -> Registration:
    """Return the run's artifact, held against its manifest; it is not looked for in the registry.

    Raises:
        StorageError: ArtifactInvalid when the artifact does not match its manifest, UpgradeNeeded when a newer version
            wrote it; else S3's problem.
    """
    location = candidate.folder.child(MANIFEST)
    found = await read_manifest(store, location)
    if found is None:
        raise Missing("ArtifactInvalid", f"The training pod ended well but {location} does not exist.")
    manifest, digest = found
    await _verify(store, candidate, manifest)
    marker = await store.head(location)
    return Registration(
        candidate=candidate,
        manifest=manifest,
        manifest_sha256=digest,
        written=marker.last_modified if marker else None,
    )


async def _verify(store: Store, candidate: Candidate, manifest: Manifest) -> None:
    if manifest.run.uid != candidate.run.uid or manifest.model_name != candidate.model_name:
        raise Refused(
            "ArtifactInvalid",
            f"{candidate.folder.child(MANIFEST)} is of run {manifest.run.uid}, model {manifest.model_name}, "
            f"not of run {candidate.run.uid}, model {candidate.model_name}.",
        )
    await verify_files(store, candidate.folder, manifest.files)


async def verify_files(store: Store, folder: Location, files: Iterable[FileEntry]) -> None:
    """Hold files of a run against what its manifest says, by size and SHA-256; no content is read.

    Raises:
        StorageError: one is missing or another (ArtifactInvalid); storage refuses or does not answer.
    """
    await asyncio.gather(*(_verify_file(store, folder, file) for file in files))


async def _verify_file(store: Store, folder: Location, file: FileEntry) -> None:
    location = folder.child(file.path)
    found = await store.head(location)
    if found is None:
        raise Refused("ArtifactInvalid", f"{location} is in the manifest but does not exist.")
    if found.size != file.bytes:
        raise Refused(
            "ArtifactInvalid", f"{location} has {found.size} bytes, the manifest says {file.bytes}."
        )
    if found.sha256 != file.sha256:
        raise Refused(
            "ArtifactInvalid",
            f"{location} has SHA-256 {found.sha256 or 'unknown'}, the manifest says {file.sha256}.",
        )
