"""What a `source:` in S3 is, a run with its manifest or a model folder, and the digest of its content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pydantic import ValidationError

from modelgarden.api.artifact import Manifest
from modelgarden.api.documents import OPERATOR, DocumentError, NewerDocument
from modelgarden.api.layout import MANIFEST, Location
from modelgarden.registry.errors import Missing, Refused
from modelgarden.registry.inputs import MODEL_CONFIG, folder_digest
from modelgarden.registry.lookups import Lookups
from modelgarden.registry.store import Store


@dataclass(frozen=True)
class ResolvedSource:
    """A run's manifest, or a folder without one."""

    uri: str
    """URI of the manifest, or of the folder."""
    sha256: str
    """SHA-256 of the manifest, or of the folder's listing (layout.listing_digest)."""
    manifest: Manifest | None


async def read_manifest(store: Store, location: Location) -> tuple[Manifest, str] | None:
    """Return a manifest and the SHA-256 of its bytes, or None when it is not there.

    Raises:
        StorageError: storage refuses or does not answer, or the object is no manifest (ArtifactInvalid) or one of a newer
            version (UpgradeNeeded).
    """
    content = await store.get_bytes(location)
    if content is None:
        return None
    try:
        manifest = Manifest.read(content, reader=OPERATOR)
    except NewerDocument as error:
        raise Refused("UpgradeNeeded", f"{location} cannot be read. {error}") from error
    except DocumentError as error:
        # A web server may have an answer for every path; it has no listing.
        await store.require_bucket(location)
        raise Refused("ArtifactInvalid", f"{location} is not a manifest: {error}.") from error
    return manifest, hashlib.sha256(content).hexdigest()


async def resolve_source(store: Store, uri: str, *, lookups: Lookups) -> ResolvedSource:
    """Return what lies at an S3 URI: a run (with manifest.json) or a Hugging Face folder (with config.json).

    Raises:
        StorageError: ModelNotFound, ArtifactInvalid, UpgradeNeeded, BucketNotFound, EndpointInvalid, AccessDenied or
            StorageUnavailable.
    """
    return await lookups.get((store, "source", uri), lambda: _resolve(store, uri))


async def _resolve(store: Store, uri: str) -> ResolvedSource:
    folder = Location.parse(uri.removesuffix(f"/{MANIFEST}"))
    location = folder.child(MANIFEST)
    found = await read_manifest(store, location)
    if found is not None:
        return ResolvedSource(uri=str(location), sha256=found[1], manifest=found[0])
    if await store.head(folder.child(MODEL_CONFIG)) is None:
        raise Missing(
            "ModelNotFound",
            f"{folder} has neither {MANIFEST} (a run of a FineTuneJob) nor {MODEL_CONFIG} (a Hugging Face "
            "folder). Upload the model there, or correct model.source.",
        )
    return ResolvedSource(uri=str(folder), sha256=await folder_digest(store, folder), manifest=None)


def first_problem(error: ValidationError, *, root: str = "") -> str:
    """Return the first problem of a validation error as `root.field: what is wrong`, without the value itself."""
    problem = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in ((root,) if root else ()) + problem["loc"])
    return f"{where or 'document'}: {problem['msg'].removeprefix('Value error, ')}"
