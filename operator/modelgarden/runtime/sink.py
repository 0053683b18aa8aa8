"""From watch events to keys: each event goes into the cache and puts the owner it concerns into the queue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from modelgarden.kube.cache import Cache
from modelgarden.kube.resources import OWNERS, Key, Resource, key_of, owner_key, referred_keys
from modelgarden.runtime.queue import WorkQueue


class Sink:
    """Takes events into the cache and decides which keys they concern."""

    def __init__(self, cache: Cache, queue: WorkQueue) -> None:
        self._cache = cache
        self._queue = queue
        self._referrers: dict[Key, set[Key]] = defaultdict(set)
        self._referred: dict[Key, set[Key]] = {}

    def take(self, resource: Resource, event_type: str | None, obj: Mapping[str, Any]) -> None:
        """Take one event; the type is None for what a listing told."""
        key = key_of(resource, obj)
        if event_type == "DELETED":
            self._cache.leave(resource, obj)
            news = True
        else:
            # The echo of an own write is no news; a listing may stand for events that a gap swallowed.
            news = self._cache.put(resource, obj) or event_type is None
        if resource in OWNERS:
            if news:
                self._queue.add(key)
            self._refer(key, set() if event_type == "DELETED" else referred_keys(resource, obj))
            for referrer in self._referrers.get(key, ()):
                self._queue.add(referrer)
        elif news and (owner := owner_key(obj)) is not None:
            self._queue.add_soon(owner)

    def _refer(self, key: Key, wanted: set[Key]) -> None:
        for referred in self._referred.pop(key, set()):
            self._referrers[referred].discard(key)
            if not self._referrers[referred]:
                del self._referrers[referred]
        if wanted:
            self._referred[key] = wanted
            for referred in wanted:
                self._referrers[referred].add(key)
