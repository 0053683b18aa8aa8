"""The stores of all resources; those with the same storage and credentials share one, with its connections."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from modelgarden.api.common import Storage
from modelgarden.registry.s3 import S3Objects
from modelgarden.registry.secrets import credentials_of
from modelgarden.registry.service import ObjectService
from modelgarden.registry.store import Store

MOST_STORES = 64


class Stores:
    """The stores of all resources."""

    def __init__(self, *, threads: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="storage")
        # One service that does not answer must leave threads for the others.
        self._lanes = max(1, threads // 2)
        self._stores: OrderedDict[Hashable, Store] = OrderedDict()

    def for_storage(self, storage: Storage, secret: Mapping[str, Any] | None) -> Store:
        """Return the store for a spec's storage and the Secret object that it names, if any.

        Raises:
            Refused: the secret lacks a key, or has a value that cannot be sent (SecretInvalid).
        """
        credentials = None if secret is None else credentials_of(secret)
        key = (storage.endpoint, storage.region, credentials)
        store = self._stores.get(key)
        if store is None:
            s3 = S3Objects(storage, credentials, connections=self._lanes)
            store = self._stores[key] = Store({"s3": ObjectService(s3, pool=self._pool, lanes=self._lanes)})
            if len(self._stores) > MOST_STORES:
                self._stores.popitem(last=False)
        self._stores.move_to_end(key)
        return store

    def close(self) -> None:
        """Let running requests end and take no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
