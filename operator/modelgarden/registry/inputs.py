"""The inputs of a run in S3: are they there, and are they still those that were looked at before?

The fingerprint covers the dataset, the credentials and, for a model in S3, every file of its folder. What lies on a
model hub is not looked at: the prepare pod does that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from modelgarden.api.layout import Location, listing_digest
from modelgarden.registry.errors import Missing, Refused
from modelgarden.registry.lookups import Lookups
from modelgarden.registry.store import ObjectInfo, Store

MODEL_CONFIG = "config.json"
MOST_MODEL_FILES = 10_000


@dataclass(frozen=True)
class InputSources:
    """Where a run reads and writes, and with what."""

    model: str
    dataset: str
    output: str
    credentials: tuple[str, ...] = ()
    """Versions of the secrets, as mended credentials may be all that was wrong."""


class Inputs:
    """Looks at inputs for many resources at once."""

    def __init__(self, lookups: Lookups | None = None) -> None:
        self._lookups = lookups or Lookups()

    async def fingerprint(self, store: Store, sources: InputSources) -> str:
        """Check that buckets, dataset and model are there; return a digest that changes with them.

        Raises:
            StorageError: BucketNotFound, DatasetNotFound, ModelNotFound, AccessDenied or StorageUnavailable.
        """
        await self._bucket(store, Location.parse(sources.output).bucket)
        dataset = await self._dataset(store, Location.parse(sources.dataset))
        model = sources.model
        if model.startswith("s3://"):
            model = await self._model(store, Location.parse(model))
        seen = (dataset.etag, str(dataset.size), model, *sources.credentials)
        return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:32]

    async def _bucket(self, store: Store, bucket: str) -> None:
        await self._lookups.get((store, "bucket", bucket), lambda: store.require_bucket(bucket))

    async def _dataset(self, store: Store, location: Location) -> ObjectInfo:
        missing = Missing(
            "DatasetNotFound",
            f"{location} does not exist. Upload the dataset there; for another place create a new FineTuneJob.",
        )
        return await self._lookups.get(
            (store, "dataset", location), lambda: _required(store, location, missing)
        )

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


async def folder_digest(store: Store, folder: Location) -> str:
    """Return the SHA-256 of a folder's listing: it changes when a file is added, removed or replaced.

    Raises:
        StorageError: S3 refuses or does not answer, or the folder is too large for a model's (ModelInvalid).
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
