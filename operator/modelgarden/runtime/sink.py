"""From watch events to keys: each event goes into the cache and puts the owner it concerns into the queue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from modelgarden.kube.cache import Cache
from modelgarden.kube.resources import (
    FINETUNEJOBS,
    MODELDEPLOYMENTS,
    OWNERS,
    Key,
    Resource,
    key_of,
    owner_key,
)
from modelgarden.runtime.queue import WorkQueue

References = Callable[[Mapping[str, Any]], set[str]]
"""Names of the FineTuneJobs that a ModelDeployment's spec refers to."""


class Sink:
    """Takes events into the cache and decides which keys they concern."""

    def __init__(self, cache: Cache, queue: WorkQueue, *, references: References) -> None:
        self._cache = cache
        self._queue = queue
        self._references = references
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
        if news and resource in OWNERS:
            self._queue.add(key)
        elif news and (owner := owner_key(obj)) is not None:
            self._queue.add_soon(owner)
        if resource is MODELDEPLOYMENTS:
            self._refer(key, set() if event_type == "DELETED" else self._references(obj.get("spec", {})))
        if resource is FINETUNEJOBS:
            for referrer in self._referrers.get(key, ()):
                self._queue.add(referrer)

    def _refer(self, key: Key, names: set[str]) -> None:
        for referred in self._referred.pop(key, set()):
            self._referrers[referred].discard(key)
            if not self._referrers[referred]:
                del self._referrers[referred]
        if names:
            self._referred[key] = {Key(FINETUNEJOBS, key.namespace, name) for name in names}
            for referred in self._referred[key]:
                self._referrers[referred].add(key)
