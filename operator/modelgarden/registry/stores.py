"""The stores of all resources; those with the same storage and credentials share one, with its connections."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from modelgarden.api.access import GcsStorage, Storage
from modelgarden.registry.gcs import GcsObjects
from modelgarden.registry.objects import Objects
from modelgarden.registry.s3 import S3Objects
from modelgarden.registry.secrets import credentials_of, service_account_in
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

    def for_storage(
        self, storage: Storage, secret: Mapping[str, Any] | None, gcs_secret: Mapping[str, Any] | None = None
    ) -> Store:
        """Return the store for a spec's storage and the Secret objects of S3 and GCS that it names, if any.

        Raises:
            Refused: a secret lacks a key, or has a value that cannot be used (SecretInvalid).
        """
        gcs = storage.gcs or GcsStorage()
        credentials = None if secret is None else credentials_of(secret)
        account = None if gcs_secret is None else service_account_in(gcs_secret, endpoint=gcs.endpoint)
        key = (
            storage.endpoint,
            storage.region,
            credentials,
            gcs.endpoint,
            json.dumps(account, sort_keys=True),
        )
        store = self._stores.get(key)
        if store is None:
            services: dict[str, Objects] = {
                "s3": S3Objects(storage, credentials, connections=self._lanes),
                "gs": GcsObjects(gcs, account),
            }
            store = self._stores[key] = Store(
                {
                    scheme: ObjectService(objects, pool=self._pool, lanes=self._lanes)
                    for scheme, objects in services.items()
                }
            )
            if len(self._stores) > MOST_STORES:
                self._stores.popitem(last=False)
        self._stores.move_to_end(key)
        return store

    def close(self) -> None:
        """Let running requests end and take no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
