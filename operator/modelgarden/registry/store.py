"""S3 objects for coroutines: boto3 behind a bounded pool of threads, errors in the terms of the conditions.

What boto3 raises is read by api/s3; clients and their credentials are made by stores.py.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from modelgarden.api.layout import SHA256_METADATA, Location
from modelgarden.api.s3.codes import Kind, S3Failure
from modelgarden.api.s3.failures import failure_of
from modelgarden.api.s3.strangers import described, listed
from modelgarden.registry.errors import Missing, Refused, Unavailable, storage_error

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

T = TypeVar("T")

REST_SECONDS = 3.0
"""After S3 did not answer, further requests to it fail at once for so long, so that they hold no threads."""
LARGEST_DOCUMENT_BYTES = 32 * 1024 * 1024
"""Manifests and records are far smaller; more is refused before it is read."""


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
        found = await self._call(
            "LIST",
            Location(bucket, ""),
            lambda client: listed(client.list_objects_v2(Bucket=bucket, MaxKeys=1)),
        )
        if found is None:
            raise Missing(
                "BucketNotFound", f"LIST s3://{bucket}: S3 finds no such bucket. Create it, or name another."
            )

    async def head(self, location: Location) -> ObjectInfo | None:
        """Return what S3 says of the object, or None when it is not there.

        Raises:
            StorageError: S3 refuses or does not answer; also when the bucket is not there.
        """
        try:
            found = await self._call(
                "HEAD",
                location,
                lambda client: described(client.head_object(Bucket=location.bucket, Key=location.key)),
            )
        except (Refused, Missing):
            # The answer has no body, and so nothing but its status to tell why; a listing's has.
            await self.require_bucket(location.bucket)
            raise
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
                if described(answer)["ContentLength"] > LARGEST_DOCUMENT_BYTES:
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

    async def list_keys(
        self, prefix: Location, *, start: str = "", limit: int = 10_000
    ) -> tuple[ObjectInfo, ...]:
        """Return the objects below a folder in key order, the first `limit` of those whose names have this start.

        Raises:
            StorageError: S3 refuses or does not answer; also when the bucket is not there.
        """

        def read(client: S3Client) -> tuple[ObjectInfo, ...]:
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=prefix.bucket,
                Prefix=f"{prefix.key}/{start}" if prefix.key else start,
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
                for item in listed(page).get("Contents", ())
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
        started = time.monotonic()
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
            outcome = "answered" if now_away is None else "did not answer"
            log.debug("%s %s: S3 %s in %.3f s", action, location, outcome, time.monotonic() - started)


def _translated(
    client: Callable[[], S3Client],
    action: str,
    location: Location,
    request: Callable[[S3Client], T],
    lost_condition: T | None,
) -> T | None:
    endpoint = ""
    try:
        opened = client()
        endpoint = opened.meta.endpoint_url
        return request(opened)
    except Exception as error:
        failure = failure_of(error)
        if failure is None and isinstance(
            error, OSError
        ):  # such as a bundle of certificates that is not there
            failure = S3Failure(Kind.PASSING, type(error).__name__, f"S3 cannot be asked ({error})")
        if failure is None:
            raise
        if failure.kind is Kind.NOT_FOUND:
            return None
        if failure.kind is Kind.PRECONDITION:
            return lost_condition
        raise storage_error(failure, action=action, target=str(location), endpoint=endpoint) from error
