"""The inputs of a run in S3: are they there, and are they still those that were looked at before?

The fingerprint covers the credentials, every file of the dataset in S3 and, for a model in S3, of its folder. What lies
elsewhere is not looked at: the prepare pod does that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial

from modelgarden.api.layout import Location, in_storage, listing_digest
from modelgarden.api.selection import MOST_FILES, Selection, selection_of
from modelgarden.registry.errors import Missing, Refused
from modelgarden.registry.lookups import Lookups
from modelgarden.registry.objects import ObjectInfo
from modelgarden.registry.safety import ProvenBuckets
from modelgarden.registry.store import Store

MODEL_CONFIG = "config.json"
MOST_MODEL_FILES = 10_000


@dataclass(frozen=True)
class InputSources:
    """Where a run reads and writes, and with what."""

    model: str
    dataset: tuple[str, ...]
    """URIs of its sources."""
    output: str
    registers: bool = False
    """The operator will write to the output what must not be overwritten."""
    credentials: tuple[str, ...] = ()
    """Versions of the secrets, as mended credentials may be all that was wrong."""


class Inputs:
    """Looks at inputs for many resources at once."""

    def __init__(self, lookups: Lookups | None = None) -> None:
        self._lookups = lookups or Lookups()
        self._proven = ProvenBuckets()

    async def fingerprint(self, store: Store, sources: InputSources) -> str:
        """Check that buckets, dataset and model are there; return a digest that changes with them.

        Raises:
            StorageError: BucketNotFound, StorageUnsafe, DatasetNotFound, ModelNotFound, AccessDenied or StorageUnavailable.
        """
        output = Location.parse(sources.output)
        await self._bucket(store, output)
        if sources.registers:
            key = (store, "proof", output.scheme, output.bucket)
            await self._lookups.get(key, lambda: self._proven.require(store, output))
        stored = [uri for uri in sources.dataset if in_storage(uri)]
        dataset = [part for uri in stored for part in await self._source(store, uri)]
        model = sources.model
        if in_storage(model):
            model = await self._model(store, Location.parse(model))
        seen = (*dataset, model, *sources.credentials)
        return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:32]

    async def _bucket(self, store: Store, place: Location) -> None:
        bucket = (place.scheme, place.bucket)
        await self._lookups.get((store, "bucket", bucket), lambda: store.require_bucket(place))

    async def _source(self, store: Store, uri: str) -> tuple[str, ...]:
        """Return what changes with the files of a source."""
        selection = selection_of(uri)
        if selection is not None:
            look = partial(_selected, store, uri, selection)
            return (await self._lookups.get((store, "dataset", uri), look),)
        location = Location.parse(uri)
        missing = Missing(
            "DatasetNotFound",
            f"{location} does not exist. Upload the dataset there; for another place create a new FineTuneJob.",
        )
        found = await self._lookups.get((store, "dataset", uri), lambda: _required(store, location, missing))
        return (found.etag, str(found.size))

    async def _model(self, store: Store, location: Location) -> str:
        config = location.child(MODEL_CONFIG)
        missing = Missing(
            "ModelNotFound",
            f"{config} does not exist. Upload the base model as a Hugging Face folder to {location}; for another "
            "place create a new FineTuneJob.",
        )

        async def look() -> str:
            await _required(store, config, missing)
            return await folder_digest(store, location)

        return await self._lookups.get((store, "model", location), look)


async def _required(store: Store, location: Location, missing: Missing) -> ObjectInfo:
    found = await store.head(location)
    if found is None:
        raise missing
    return found


async def _selected(store: Store, uri: str, selection: Selection) -> str:
    """Return the SHA-256 of the listing of the files that a source selects.

    Raises:
        StorageError: there are none (DatasetNotFound) or too many (DatasetInvalid), S3 refuses or does not answer.
    """
    folder = Location.parse(selection.folder)
    prefix = f"{folder.key}/" if folder.key else ""
    objects = await store.list_keys(folder, start=selection.start, limit=MOST_FILES + 1)
    if len(objects) > MOST_FILES:
        raise Refused(
            "DatasetInvalid",
            f"More than {MOST_FILES} objects begin with {folder}/{selection.start}, where {uri} is looked for. Move the "
            "dataset to a folder of its own, or join its files to fewer; for another place create a new FineTuneJob.",
        )
    named = ((file.key.removeprefix(prefix), file) for file in objects if file.size)
    files = [(name, file.etag, file.size) for name, file in named if selection.takes(name)]
    if not files:
        raise Missing(
            "DatasetNotFound",
            f"No file fits {uri}, of {len(objects)} objects that begin with {folder}/{selection.start}. Upload the dataset "
            "there; for another place create a new FineTuneJob.",
        )
    return listing_digest(files)


async def folder_digest(store: Store, folder: Location) -> str:
    """Return the SHA-256 of a folder's listing: it changes when a file is added, removed or replaced.

    Raises:
        StorageError: storage refuses or does not answer, or the folder is too large for a model's (ModelInvalid).
    """
    prefix = f"{folder.key}/" if folder.key else ""
    objects = await store.list_keys(folder, limit=MOST_MODEL_FILES + 1)
    if len(objects) > MOST_MODEL_FILES:
        raise Refused(
            "ModelInvalid",
            f"{folder} holds more than {MOST_MODEL_FILES} objects. Name the model's own folder in model.source.",
        )
    named = ((file.key.removeprefix(prefix), file) for file in objects)
    return listing_digest(
        (name, file.etag, file.size) for name, file in named if name and not name.endswith("/")
    )
