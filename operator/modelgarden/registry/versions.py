"""The registry: an artifact that matches its manifest gets the next version of its model, once per run.

A version is allocated by a conditional write, so jobs that end together never share a number. An operator
that died between that write and the alias finds the run's own version again.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from modelgarden.api.artifact import FileEntry, Manifest, RunIdentity, VersionRecord
from modelgarden.api.finetunejob import ArtifactStatus
from modelgarden.api.layout import (
    LATEST,
    MANIFEST,
    Location,
    alias_key,
    registry_uri,
    run_uri,
    version_key,
)
from modelgarden.registry.errors import Missing, Refused, Unavailable
from modelgarden.registry.sources import read_manifest
from modelgarden.registry.store import ObjectInfo, Store

_VERSION = re.compile(r"/versions/([1-9][0-9]{0,8})\.json$")
_CLOCK_SLACK = timedelta(minutes=10)
"""S3 stamps manifest and version alike; its servers' clocks may differ by less than this."""
_MOST_TRIES = 64


@dataclass(frozen=True)
class Registration:
    """A run's manifest, and the version that it has."""

    manifest: Manifest
    record: VersionRecord

    @property
    def artifact(self) -> ArtifactStatus:
        """Return the artifact as a FineTuneJob's status shows it."""
        return ArtifactStatus(
            uri=self.record.manifest,
            manifest_sha256=self.record.manifest_sha256,
            model_name=self.record.model_name,
            version=self.record.version,
            formats=tuple(self.manifest.formats),
            bytes=sum(file.bytes for file in self.manifest.files),
        )


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


async def has_manifest(store: Store, candidate: Candidate) -> bool:
    """Tell whether the run has left its commit marker.

    Raises:
        StorageError: S3 refuses or does not answer.
    """
    return await store.head(candidate.folder.child(MANIFEST)) is not None


async def register(store: Store, candidate: Candidate, *, now: datetime) -> Registration:
    """Verify the run's artifact, give it a version unless it has one, and move the alias `latest` to it.

    Raises:
        StorageError: ArtifactInvalid when the artifact does not match its manifest; else S3's problem.
    """
    location = candidate.folder.child(MANIFEST)
    found = await read_manifest(store, location)
    if found is None:
        raise Missing("ArtifactInvalid", f"The training pod ended well but {location} does not exist.")
    manifest, digest = found
    await _verify(store, candidate, manifest)
    marker = await store.head(location)
    written = marker.last_modified if marker else None
    record = VersionRecord(
        version=1,
        model_name=candidate.model_name,
        run=candidate.run,
        manifest=str(location),
        manifest_sha256=digest,
        created_at=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    record = await _allocate(store, candidate.model, record, since=written)
    await move_alias(store, candidate.model, record, alias=LATEST)
    return Registration(manifest=manifest, record=record)


async def _verify(store: Store, candidate: Candidate, manifest: Manifest) -> None:
    if manifest.run.uid != candidate.run.uid or manifest.model_name != candidate.model_name:
        raise Refused(
            "ArtifactInvalid",
            f"{candidate.folder.child(MANIFEST)} is of run {manifest.run.uid}, model {manifest.model_name}, "
            f"not of run {candidate.run.uid}, model {candidate.model_name}.",
        )
    await asyncio.gather(*(_verify_file(store, candidate.folder, file) for file in manifest.files))


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


async def _allocate(
    store: Store, model: Location, record: VersionRecord, *, since: datetime | None
) -> VersionRecord:
    versions = await _versions(store, model)
    own = await _own_version(store, model, versions, record=record, since=since)
    if own is not None:
        return own
    number = max(versions, default=0) + 1
    for _ in range(_MOST_TRIES):
        wanted = record.model_copy(update={"version": number})
        location = model.child(version_key(number))
        if await store.put_bytes(
            location, wanted.model_dump_json(by_alias=True).encode(), if_none_match=True
        ):
            return wanted
        content = await store.get_bytes(location)
        if content is None:
            continue
        taken = _parsed(content)
        # A write whose answer was lost is found here as our own.
        if taken is not None and taken.run.uid == record.run.uid:
            return taken
        number += 1
    raise Unavailable(f"{model}: {_MOST_TRIES} versions were taken meanwhile. The operator keeps trying.")


async def _versions(store: Store, model: Location) -> dict[int, ObjectInfo]:
    listed = await store.list_keys(model.child("versions"), limit=1_000_000)
    return {int(match[1]): info for info in listed if (match := _VERSION.search(info.key))}


async def _own_version(
    store: Store,
    model: Location,
    versions: dict[int, ObjectInfo],
    *,
    record: VersionRecord,
    since: datetime | None,
) -> VersionRecord | None:
    for number in sorted(versions, reverse=True):
        # A run's version is written after its manifest, so older ones need not be read.
        if since is not None and versions[number].last_modified < since - _CLOCK_SLACK:
            return None
        content = await store.get_bytes(model.child(version_key(number)))
        found = None if content is None else _parsed(content)
        if found is not None and found.run.uid == record.run.uid:
            return found
    return None


def _parsed(content: bytes) -> VersionRecord | None:
    # A record that someone spoilt is not ours, and must not keep others from registering.
    try:
        return VersionRecord.model_validate_json(content)
    except ValidationError:
        return None


async def move_alias(store: Store, model: Location, record: VersionRecord, *, alias: str) -> None:
    """Point an alias at a version, unless it points at a newer one already.

    Raises:
        StorageError: S3 refuses or does not answer.
    """
    location = model.child(alias_key(alias))
    content = record.model_dump_json(by_alias=True).encode()
    for _ in range(_MOST_TRIES):
        found = await store.get_tagged(location)
        if found is None:
            if await store.put_bytes(location, content, if_none_match=True):
                return
            continue
        current = _parsed(found[0])
        if current is not None and current.version >= record.version:
            return
        if await store.put_bytes(location, content, if_match=found[1]):
            return
    raise Unavailable(f"Alias {location} changes too fast. The operator keeps trying.")
