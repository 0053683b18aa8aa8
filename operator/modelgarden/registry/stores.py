"""The stores of all resources, and the clients and credentials that they ask S3 with.

boto3 is imported with the first client, because an operator without work should stay small.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from modelgarden.api.common import Storage
from modelgarden.api.s3.strangers import refuse_strangers
from modelgarden.registry.errors import Refused
from modelgarden.registry.secrets import Credentials, credentials_of
from modelgarden.registry.store import Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS = 3
READ_SECONDS = 10
MOST_CLIENTS = 64


class Stores:
    """The stores of all resources; those with the same endpoint, region and credentials share one client."""

    def __init__(self, *, threads: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="storage")
        # One service that does not answer must leave threads for the others.
        self._lanes = max(1, threads // 2)
        self._stores: OrderedDict[tuple[str | None, str, Credentials | None], Store] = OrderedDict()
        self._sessions = threading.Lock()

    def for_storage(self, storage: Storage, secret: Mapping[str, Any] | None) -> Store:
        """Return the store for a spec's storage and the Secret object that it names, if any.

        Raises:
            Refused: the secret lacks a key, or has a value that cannot be sent (SecretInvalid).
        """
        credentials = None if secret is None else credentials_of(secret)
        key = (storage.endpoint, storage.region, credentials)
        store = self._stores.get(key)
        if store is None:
            client = _Client(storage, credentials, lock=self._sessions, connections=self._lanes)
            store = self._stores[key] = Store(client, pool=self._pool, lanes=self._lanes)
            if len(self._stores) > MOST_CLIENTS:
                self._stores.popitem(last=False)
        self._stores.move_to_end(key)
        return store

    def close(self) -> None:
        """Let running requests end and take no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Client:
    """A boto3 client that is made by its first use, in the pool's thread."""

    def __init__(
        self, storage: Storage, credentials: Credentials | None, *, lock: threading.Lock, connections: int
    ) -> None:
        self._storage = storage
        self._credentials = credentials
        self._lock = lock
        self._connections = connections
        self._client: S3Client | None = None

    def __call__(self) -> S3Client:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> S3Client:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        keys = self._credentials
        try:
            client = boto3.client(
                "s3",
                endpoint_url=self._storage.endpoint,
                region_name=self._storage.region,
                aws_access_key_id=keys.access_key if keys else None,
                aws_secret_access_key=keys.secret_key if keys else None,
                aws_session_token=keys.session_token if keys else None,
                config=Config(
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=READ_SECONDS,
                    retries={"total_max_attempts": 2, "mode": "standard"},
                    max_pool_connections=self._connections,
                    s3={"addressing_style": "path" if self._storage.endpoint else "auto"},
                    # Checksum trailers are refused by older S3 services.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                ),
            )
        except BotoCoreError:
            raise
        except ValueError as error:
            raise Refused(
                "EndpointInvalid",
                f"storage.endpoint {self._storage.endpoint!r} cannot be used: {error}. Correct it.",
            ) from error
        refuse_strangers(client.meta.events)
        return client
