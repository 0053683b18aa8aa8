"""Proof, once per bucket, that its storage refuses what the registry relies on being refused.

A version is allocated by a write that must fail where one is already, an alias moved by one that must fail where
somebody else moved it meanwhile. Storage that overlooks the conditions loses versions without a word, so that it is
asked to write twice before anything counts on it: a second time where an object is, and over an entity tag that is no
longer the object's.
"""

from __future__ import annotations

import secrets

from modelgarden.api.layout import WRITE_PROOF, Location
from modelgarden.registry.errors import Refused
from modelgarden.registry.store import Store


class ProvenBuckets:
    """The buckets of which it is known."""

    def __init__(self) -> None:
        self._proven: set[tuple[str, str, str]] = set()

    async def require(self, store: Store, root: Location) -> None:
        """Prove it for the bucket of an output, unless it is proven already; a small object stays below its root.

        Raises:
            StorageError: its storage overlooks a condition (StorageUnsafe), refuses to write or does not answer.
        """
        bucket = (store.endpoint(root), root.scheme, root.bucket)
        if bucket not in self._proven:
            await _prove(store, root.child(WRITE_PROOF))
            self._proven.add(bucket)


async def _prove(store: Store, place: Location) -> None:
    # A first time to have it there, unless it is.
    await store.put_bytes(place, _content(), if_none_match=True)
    if await store.put_bytes(place, _content(), if_none_match=True):
        raise _unsafe(place, "wrote an object that was to be written only where none is")
    found = await store.get_tagged(place)
    if found is None:
        raise _unsafe(place, "refused to write an object where none is")
    former = found[1]
    await store.put_bytes(place, _content(), if_match=former)
    if await store.put_bytes(place, _content(), if_match=former):
        raise _unsafe(place, "wrote over an object that had changed since")


def _content() -> bytes:
    """Return content that no other write has, as S3's entity tag is one of the content."""
    return f'{{"proof": "{secrets.token_hex(16)}"}}'.encode()


def _unsafe(place: Location, what: str) -> Refused:
    return Refused(
        "StorageUnsafe",
        f"PUT {place}: the storage {what}, so that versions of a model could overwrite each other. Use a service with "
        "conditional writes, and nothing between that takes the headers If-None-Match and If-Match away.",
    )
