"""Listings: one fills the cache before the workers start, regular ones repair what the watches missed.

kopf does not tell of objects that went during a gap in a watch (it lists anew and does not compare), so this is
what purges ghosts. A regular listing carries metadata only; what differs from the cache is read one by one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator

from modelgarden.kube.cache import Cache
from modelgarden.kube.client import Kube
from modelgarden.kube.errors import Invalid, Retryable
from modelgarden.kube.resources import CHILDREN, MANAGED_SELECTOR, OWNERS, Key, Resource, key_of, owner_key
from modelgarden.runtime.health import Vitals
from modelgarden.runtime.metrics import Metrics
from modelgarden.runtime.queue import WorkQueue

log = logging.getLogger(__name__)


class Resync:
    """Compares the API server with the cache."""

    def __init__(
        self, kube: Kube, cache: Cache, queue: WorkQueue, *, namespaces: tuple[str, ...], metrics: Metrics
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._queue = queue
        self._namespaces = namespaces
        self._metrics = metrics

    async def fill(self) -> None:
        """Read everything into the cache, so that no reconcile takes an unread child for a missing one."""
        for resource, namespace in self._listings():
            async for page in self._kube.pages(
                resource, namespace=namespace, label_selector=_selector(resource)
            ):
                for obj in page.items:
                    self._cache.put(resource, obj)

    async def repeat(self, seconds: float, vitals: Vitals) -> None:
        """Resync at intervals until cancelled; a listing that fails is logged and tried again."""
        while True:
            await asyncio.sleep(seconds * (0.9 + 0.2 * random.random()))  # noqa: S311 -- jitter
            try:
                await self.once(spread_seconds=seconds)
            except (Retryable, Invalid) as error:
                log.warning("Resync failed: %s", error.message)
            else:
                vitals.synced()

    async def once(self, *, spread_seconds: float) -> None:
        """Repair the cache, queue the owners of what changed, and all others spread over a time."""
        for resource, namespace in self._listings():
            await self._repair(resource, namespace)
        for resource in (*OWNERS, *CHILDREN):
            self._cache.forget_removed(resource)
        for resource in OWNERS:
            for key in self._cache.keys(resource):
                self._queue.add_after(key, random.uniform(0, spread_seconds))  # noqa: S311 -- jitter

    async def _repair(self, resource: Resource, namespace: str | None) -> None:
        listed: dict[Key, tuple[str, int]] = {}
        version = 0
        pages = self._kube.pages(
            resource, namespace=namespace, label_selector=_selector(resource), metadata_only=True
        )
        async for page in pages:
            version = int(page.resource_version)
            for obj in page.items:
                metadata = obj["metadata"]
                listed[key_of(resource, obj)] = (metadata["uid"], int(metadata["resourceVersion"]))
        stale, ghosts = self._cache.differences(resource, listed, version, namespace=namespace)
        for key in ghosts:
            self._queue_owner(key)
            self._cache.remove(resource, key.namespace, key.name)
        for key in stale:
            found = await self._kube.get(resource, key.namespace, key.name)
            if found is not None and self._cache.put(resource, found):
                self._queue_owner(key)
        if stale or ghosts:
            self._metrics.repaired(resource, len(stale) + len(ghosts))
            log.warning("%d events of %s were missed", len(stale) + len(ghosts), resource.plural)

    def _queue_owner(self, key: Key) -> None:
        obj = self._cache.get(key.resource, key.namespace, key.name)
        owner = key if key.resource in OWNERS else owner_key(obj) if obj is not None else None
        if owner is not None:
            self._queue.add(owner)

    def _listings(self) -> Iterator[tuple[Resource, str | None]]:
        for resource in (*OWNERS, *CHILDREN):
            for namespace in self._namespaces or (None,):
                yield resource, namespace


def _selector(resource: Resource) -> str | None:
    return MANAGED_SELECTOR if resource in CHILDREN else None
