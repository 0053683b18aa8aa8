"""S3 objects for coroutines: boto3 behind a bounded pool of threads, errors in the terms of the conditions.

boto3 is imported with the first client, because an operator without work should stay small.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from modelgarden.api.common import OPTIONAL_SECRET_KEYS, SECRET_KEYS, Storage
from modelgarden.api.layout import SHA256_METADATA, Location
from modelgarden.api.redaction import keep_secret
from modelgarden.registry.errors import Refused, Unavailable, refusal, transport_failure

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

CONNECT_SECONDS = 3
READ_SECONDS = 10
REST_SECONDS = 3.0
"""After S3 did not answer, further requests to it fail at once for so long, so that they hold no threads."""
LARGEST_DOCUMENT_BYTES = 32 * 1024 * 1024
"""Manifests and records are far smaller; more is refused before it is read."""
MOST_CLIENTS = 64


@dataclass(frozen=True)
class ObjectInfo:
    """What S3 says of an object without its content."""

    key: str
    size: int
    etag: str
    """Without the quotes that S3 puts around it."""
    last_modified: datetime
    sha256: str | None = None
    """From the object's metadata; never in a listing."""


class Store:
    """Objects of one S3 service with one set of credentials."""

    def __init__(self, client: Callable[[], S3Client], *, pool: ThreadPoolExecutor, lanes: int) -> None:
        self._client = client
        self._pool = pool
        self._lanes = asyncio.Semaphore(lanes)
        self._unavailable: tuple[float, Unavailable] | None = None
        self._probing = False

    async def require_bucket(self, bucket: str) -> None:
        """Check that the bucket exists and answers to the credentials.

        Raises:
            StorageError: it does not.
        """
        # Not HEAD, whose answer has no body: a missing bucket and an unknown access key could look the same.
        await self._call(
            "LIST", Location(bucket, ""), lambda client: client.list_objects_v2(Bucket=bucket, MaxKeys=1)
        )

    async def head(self, location: Location) -> ObjectInfo | None:
        """Return what S3 says of the object, or None when it is not there.

        Raises:
            StorageError: S3 refuses or does not answer; also when the bucket is not there.
        """
        found = await self._call(
            "HEAD",
            location,
            lambda client: client.head_object(Bucket=location.bucket, Key=location.key),
        )
        if found is None:
            await self.require_bucket(location.bucket)
            return None
        return ObjectInfo(
            key=location.key,
            size=found["ContentLength"],
            etag=found["ETag"].strip('"'),
            last_modified=found["LastModified"],
            sha256=found["Metadata"].get(SHA256_METADATA),
        )

    async def get_bytes(self, location: Location) -> bytes | None:
        """Return the content of a small object, or None when it is not there.

        Raises:
            StorageError: S3 refuses or does not answer, or the object is larger than 32 MiB.
        """
        found = await self.get_tagged(location)
        return None if found is None else found[0]

    async def get_tagged(self, location: Location) -> tuple[bytes, str] | None:
        """Return content and ETag of a small object, or None when it is not there.

        Raises:
            StorageError: as get_bytes.
        """

        def read(client: S3Client) -> tuple[bytes, str]:
            answer = client.get_object(Bucket=location.bucket, Key=location.key)
            with answer["Body"] as body:
                if answer["ContentLength"] > LARGEST_DOCUMENT_BYTES:
                    raise Refused(
                        "ArtifactInvalid",
                        f"{location} has {answer['ContentLength']} bytes, more than any record has.",
                    )
                return body.read(), answer["ETag"]

        return await self._call("GET", location, read)

    async def put_bytes(
        self, location: Location, content: bytes, *, if_none_match: bool = False, if_match: str | None = None
    ) -> bool:
        """Write an object; return False when the condition did not hold and nothing was written.

        `if_none_match` writes only where no object is; `if_match` only over the object with that ETag.

        Raises:
            StorageError: S3 refuses or does not answer.
        """
        condition: dict[str, Any] = {}
        if if_none_match:
            condition["IfNoneMatch"] = "*"
        if if_match is not None:
            condition["IfMatch"] = if_match

        def write(client: S3Client) -> bool:
            client.put_object(
                Bucket=location.bucket,
                Key=location.key,
                Body=content,
                ContentType="application/json",
                Metadata={SHA256_METADATA: hashlib.sha256(content).hexdigest()},
                **condition,
            )
            return True

        return await self._call("PUT", location, write, lost_condition=False) or False

    async def list_keys(self, prefix: Location, *, limit: int = 10_000) -> tuple[ObjectInfo, ...]:
        """Return the objects below a folder in key order, the first `limit` of them.

        Raises:
            StorageError: S3 refuses or does not answer; also when the bucket is not there.
        """

        def read(client: S3Client) -> tuple[ObjectInfo, ...]:
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=prefix.bucket,
                Prefix=f"{prefix.key}/" if prefix.key else "",
                PaginationConfig={"MaxItems": limit},
            )
            return tuple(
                ObjectInfo(
                    key=item["Key"],
                    size=item["Size"],
                    etag=item["ETag"].strip('"'),
                    last_modified=item["LastModified"],
                )
                for page in pages
                for item in page.get("Contents", ())
            )

        return await self._call("LIST", prefix, read) or ()

    async def _call(
        self,
        action: str,
        location: Location,
        request: Callable[[S3Client], T],
        *,
        lost_condition: T | None = None,
    ) -> T | None:
        """Run a request on the pool; None: the object is not there, `lost_condition`: a condition failed."""
        if self._unavailable is not None:
            until, error = self._unavailable
            # While S3 is away one request at a time finds out whether it is back; the others need not wait with it.
            if self._probing or time.monotonic() < until:
                raise Unavailable(error.message)
        self._probing = self._unavailable is not None
        loop = asyncio.get_running_loop()
        now_away: tuple[float, Unavailable] | None = None
        try:
            async with self._lanes:
                return await loop.run_in_executor(
                    self._pool, lambda: _translated(self._client, action, location, request, lost_condition)
                )
        except Unavailable as error:
            now_away = (time.monotonic() + REST_SECONDS, error)
            raise
        finally:
            self._unavailable, self._probing = now_away, False


def _translated(
    client: Callable[[], S3Client],
    action: str,
    location: Location,
    request: Callable[[S3Client], T],
    lost_condition: T | None,
) -> T | None:
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    try:
        return request(client())
    except ClientError as error:
        answer: Any = error.response
        code = str(answer.get("Error", {}).get("Code", ""))
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in ("404", "NoSuchKey"):
            return None
        if code in ("412", "PreconditionFailed", "ConditionalRequestConflict"):
            return lost_condition
        detail = str(answer.get("Error", {}).get("Message", ""))
        raise refusal(code=code, status=status, action=action, target=str(location), detail=detail) from error
    except (BotoCoreError, HTTPClientError, OSError) as error:
        raise transport_failure(error, action=action, target=str(location)) from error


@dataclass(frozen=True)
class _Credentials:
    access_key: str
    secret_key: str
    session_token: str | None


class Stores:
    """The stores of all resources; those with the same endpoint, region and credentials share one client."""

    def __init__(self, *, threads: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="storage")
        # One service that does not answer must leave threads for the others.
        self._lanes = max(1, threads // 2)
        self._stores: OrderedDict[tuple[str | None, str, _Credentials | None], Store] = OrderedDict()
        self._sessions = threading.Lock()

    def for_storage(self, storage: Storage, secret: Mapping[str, Any] | None) -> Store:
        """Return the store for a spec's storage and the Secret object that it names, if any.

        Raises:
            Refused: the secret lacks a key (SecretInvalid).
        """
        credentials = None if secret is None else _credentials(secret)
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
        self, storage: Storage, credentials: _Credentials | None, *, lock: threading.Lock, connections: int
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

        keys = self._credentials
        return boto3.client(
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


def _credentials(secret: Mapping[str, Any]) -> _Credentials:
    name = secret.get("metadata", {}).get("name", "")
    data = secret.get("data") or {}
    values: dict[str, str] = {}
    for key in (*SECRET_KEYS, *OPTIONAL_SECRET_KEYS):
        try:
            values[key] = base64.b64decode(data.get(key) or "", validate=True).decode().strip()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise Refused("SecretInvalid", f"Key {key} of secret {name!r} is not text.") from error
    absent = [key for key in SECRET_KEYS if not values[key]]
    if absent:
        raise Refused("SecretInvalid", f"Secret {name!r} lacks {' and '.join(absent)}; add {_keys(absent)}.")
    for value in values.values():
        keep_secret(value)
    return _Credentials(
        access_key=values["AWS_ACCESS_KEY_ID"],
        secret_key=values["AWS_SECRET_ACCESS_KEY"],
        session_token=values["AWS_SESSION_TOKEN"] or None,
    )


def _keys(absent: list[str]) -> str:
    return "the key" if len(absent) == 1 else "the keys"
