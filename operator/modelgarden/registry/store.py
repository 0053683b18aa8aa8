"""The objects of one resource, wherever they lie, in the terms of the registry.

A location's scheme tells which service has it (objects.py is what one is asked, service.py how); stores.py makes both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from modelgarden.api.layout import Location
from modelgarden.registry.errors import Missing, Refused
from modelgarden.registry.objects import ObjectInfo, Objects
from modelgarden.registry.service import ObjectService

T = TypeVar("T")

LARGEST_DOCUMENT_BYTES = 32 * 1024 * 1024
"""Manifests and records are far smaller; more is refused before it is read."""


class Store:
    """Objects in the storage of one spec, with its credentials."""

    def __init__(self, services: Mapping[str, ObjectService]) -> None:
        self._services = services
        """By scheme."""

    def endpoint(self, location: Location) -> str:
        """Return the URL of the service that has a location, "" before the first request to it."""
        return self._services[location.scheme].endpoint

    async def require_bucket(self, location: Location) -> None:
        """Check that the bucket exists and answers to the credentials.

        Raises:
            StorageError: it does not.
        """
        bucket = Location(location.bucket, "", location.scheme)

        def ask(objects: Objects) -> bool:
            objects.require_bucket(bucket.bucket)
            return True

        if await self._call("LIST", bucket, ask) is None:
            name = self._services[location.scheme].name
            raise Missing(
                "BucketNotFound", f"LIST {bucket}: {name} finds no such bucket. Create it, or name another."
            )

    async def head(self, location: Location) -> ObjectInfo | None:
        """Return what is known about the object, or None when it is not there.

        Raises:
            StorageError: storage refuses or does not answer; also when the bucket is not there.
        """
        try:
            found = await self._call("HEAD", location, lambda objects: objects.head(location))
        except (Refused, Missing):
            # The answer may have no body, and so nothing but its status to tell why; a listing's has.
            await self.require_bucket(location)
            raise
        if found is None:
            await self.require_bucket(location)
        return found

    async def get_bytes(self, location: Location) -> bytes | None:
        """Return the content of a small object, or None when it is not there.

        Raises:
            StorageError: storage refuses or does not answer, or the object is larger than 32 MiB.
        """
        found = await self.get_tagged(location)
        return None if found is None else found[0]

    async def get_tagged(self, location: Location) -> tuple[bytes, str] | None:
        """Return content and entity tag of a small object, or None when it is not there.

        Raises:
            StorageError: as get_bytes.
        """
        found = await self._call(
            "GET", location, lambda objects: objects.get(location, most=LARGEST_DOCUMENT_BYTES)
        )
        if found is None:
            return None
        if found.size > LARGEST_DOCUMENT_BYTES:
            raise Refused("ArtifactInvalid", f"{location} has {found.size} bytes, more than any record has.")
        return found.body, found.etag

    async def put_bytes(
        self, location: Location, content: bytes, *, if_none_match: bool = False, if_match: str | None = None
    ) -> bool:
        """Write an object; return False when the condition did not hold and nothing was written.

        `if_none_match` writes only where no object is; `if_match` only over the object with that entity tag.

        Raises:
            StorageError: storage refuses or does not answer.
        """

        def write(objects: Objects) -> bool:
            objects.put(location, content, if_none_match=if_none_match, if_match=if_match)
            return True

        return await self._call("PUT", location, write, lost_condition=False) or False

    async def list_keys(
        self, prefix: Location, *, start: str = "", limit: int = 10_000
    ) -> tuple[ObjectInfo, ...]:
        """Return the objects below a folder in key order, the first `limit` of those whose names have this start.

        Raises:
            StorageError: storage refuses or does not answer; also when the bucket is not there.
        """
        found = await self._call(
            "LIST", prefix, lambda objects: objects.list(prefix, start=start, limit=limit)
        )
        return found or ()

    async def _call(
        self,
        action: str,
        location: Location,
        request: Callable[[Objects], T],
        *,
        lost_condition: T | None = None,
    ) -> T | None:
        service = self._services[location.scheme]
        return await service.call(action, location, request, lost_condition=lost_condition)
