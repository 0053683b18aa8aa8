"""An artifact that was registered earlier, found again: the record of a version or an alias, its manifest, its files."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydantic import ValidationError

from modelgarden.api.artifact import VersionRecord
from modelgarden.api.finetunejob import USED_FORMAT, Parent, RegistryReference
from modelgarden.api.layout import MANIFEST, Location
from modelgarden.registry.artifacts import verify_files
from modelgarden.registry.errors import Missing, Refused
from modelgarden.registry.sources import first_problem, read_manifest
from modelgarden.registry.store import Store
from modelgarden.registry.versions import listed_versions, record_in


@dataclass(frozen=True)
class Published:
    """A version of a model, as its record or the status of the FineTuneJob that made it tells."""

    uri: str
    """Of the manifest."""
    manifest_sha256: str
    model_name: str
    version: int

    @property
    def name(self) -> str:
        """Return the version as people name it."""
        return f"{self.model_name} version {self.version}"


async def find_version(store: Store, model: Location, reference: RegistryReference) -> Published:
    """Return the version of a model that a number or an alias names; the model is its folder in the registry.

    Raises:
        StorageError: VersionNotFound when there is none, ArtifactInvalid when its record is damaged, UpgradeNeeded when a
            newer version wrote it; else storage's problem.
    """
    location = model.child(reference.key)
    content = await store.get_bytes(location)
    if content is None:
        raise await _not_found(store, model, reference)
    record = record_in(content, location)
    if record is None:
        raise Refused("ArtifactInvalid", f"{location} is no record of a version.")
    return _published(record)


async def find_parent(store: Store, published: Published) -> Parent:
    """Return a version as what is trained on from, its merge held against its manifest.

    Raises:
        StorageError: ModelNotFound when the manifest is gone, FormatNotFound when the artifact has no merge,
            ArtifactInvalid when it is not what was registered, UpgradeNeeded when a newer version wrote it; else storage's
            problem.
    """
    location = _location(published)
    found = await read_manifest(store, location)
    if found is None:
        raise Missing("ModelNotFound", f"{location}, {published.name}, does not exist.")
    manifest, digest = found
    if digest != published.manifest_sha256:
        raise Refused(
            "ArtifactInvalid",
            f"{location} has SHA-256 {digest}, {published.name} was registered with {published.manifest_sha256}.",
        )
    place = manifest.formats.get(USED_FORMAT)
    if place is None:
        raise Refused(
            "FormatNotFound",
            f"{published.name} has no 16-bit merge to train on from, only {' and '.join(manifest.formats)}. Run its "
            "FineTuneJob anew with Merged16Bit in output.formats, and name that version in a new FineTuneJob.",
        )
    run = replace(location, key=location.key.removesuffix(f"/{MANIFEST}"))
    await verify_files(store, run, (file for file in manifest.files if file.path.startswith(f"{place}/")))
    try:
        return Parent(
            uri=published.uri,
            manifest_sha256=digest,
            model_name=published.model_name,
            version=published.version,
            job=manifest.run.name,
            source=str(run.child(place)),
            root=manifest.root,
        )
    except ValidationError as error:
        raise Refused("ArtifactInvalid", f"{location}: {first_problem(error)}.") from error


def _published(record: VersionRecord) -> Published:
    return Published(record.manifest, record.manifest_sha256, record.model_name, record.version)


def _location(published: Published) -> Location:
    try:
        return Location.parse(published.uri)
    except ValueError as error:
        raise Refused("ArtifactInvalid", f"The record of {published.name}: {error}.") from error


async def _not_found(store: Store, model: Location, reference: RegistryReference) -> Missing:
    versions = await listed_versions(store, model)
    there = f"its newest version is {max(versions)}" if versions else "nothing is registered under that name"
    return Missing(
        "VersionNotFound",
        f"{model} has no {reference.words}: {there}. The job goes on by itself once there is one; to train on from another, "
        "create a new FineTuneJob.",
    )
