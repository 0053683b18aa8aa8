"""Objects in S3. boto3 is imported with the first request, because an operator without work should stay small."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any

from modelgarden.api.access import Storage
from modelgarden.api.layout import SHA256_METADATA, Location
from modelgarden.api.s3.failures import failure_of
from modelgarden.api.s3.strangers import described, listed, refuse_strangers
from modelgarden.api.storage.failures import S3, Service, StorageFailure
from modelgarden.registry.errors import Refused
from modelgarden.registry.objects import Content, ObjectInfo
from modelgarden.registry.secrets import Credentials

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS = 3
READ_SECONDS = 10

_making = threading.Lock()
"""boto3's default session is for one thread at a time."""


class S3Objects:
    """Objects of one S3 service; the client is made by its first use, in the pool's thread."""

    service: Service = S3

    def __init__(self, storage: Storage, credentials: Credentials | None, *, connections: int) -> None:
        self._storage = storage
        self._credentials = credentials
        self._connections = connections
        self._client: S3Client | None = None

    @property
    def endpoint(self) -> str:
        """Return the URL of the service, "" before the first request."""
        return self._client.meta.endpoint_url if self._client is not None else ""

    def failure_of(self, error: BaseException) -> StorageFailure | None:
        """Return what went wrong with a request; None where the error is of something else."""
        return failure_of(error)

    def require_bucket(self, bucket: str) -> None:
        """List one object at most."""
        # Not HEAD, whose answer has no body: a missing bucket and an unknown access key could look the same.
        listed(self._connected().list_objects_v2(Bucket=bucket, MaxKeys=1))

    def head(self, location: Location) -> ObjectInfo:
        """Return what S3 says of an object."""
        found = described(self._connected().head_object(Bucket=location.bucket, Key=location.key))
        return ObjectInfo(
            key=location.key,
            size=found["ContentLength"],
            etag=found["ETag"].strip('"'),
            last_modified=found["LastModified"],
            sha256=found["Metadata"].get(SHA256_METADATA),
        )

    def get(self, location: Location, *, most: int) -> Content:
        """Return an object's content; nothing of it where it has more bytes than `most`."""
        answer = self._connected().get_object(Bucket=location.bucket, Key=location.key)
        with answer["Body"] as body:
            size = described(answer)["ContentLength"]
            return Content(b"" if size > most else body.read(), etag=answer["ETag"], size=size)

    def put(self, location: Location, content: bytes, *, if_none_match: bool, if_match: str | None) -> None:
        """Write an object, on a condition where one is given."""
        condition: dict[str, Any] = {}
        if if_none_match:
            condition["IfNoneMatch"] = "*"
        if if_match is not None:
            condition["IfMatch"] = if_match
        self._connected().put_object(
            Bucket=location.bucket,
            Key=location.key,
            Body=content,
            ContentType="application/json",
            Metadata={SHA256_METADATA: hashlib.sha256(content).hexdigest()},
            **condition,
        )

    def list(self, prefix: Location, *, start: str, limit: int) -> tuple[ObjectInfo, ...]:
        """Return the first objects below a folder whose names have this start."""
        pages = (
            self._connected()
            .get_paginator("list_objects_v2")
            .paginate(
                Bucket=prefix.bucket,
                Prefix=f"{prefix.key}/{start}" if prefix.key else start,
                PaginationConfig={"MaxItems": limit},
            )
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

    def _connected(self) -> S3Client:
        with _making:
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
