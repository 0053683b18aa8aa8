"""Folders in S3, with the interface of `folder.Folder`. The only module of the pods that imports boto3."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from modelgarden.api.artifact import FileEntry
from modelgarden.api.layout import SHA256_METADATA, Location
from modelgarden.api.pods import PodStorage
from modelgarden.api.s3.codes import answered
from modelgarden.api.s3.failures import failure_of
from modelgarden.api.s3.strangers import described, listed, refuse_strangers
from modelgarden.api.storage.failures import Kind
from modelgarden_pod.asking import Asking
from modelgarden_pod.credentials import require_sendable
from modelgarden_pod.errors import ObjectNotFound, TemporaryError, UserError
from modelgarden_pod.folder import StoredFile, content_type, fetch_verified, sha256_of
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage_errors import Denied, no_bucket

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

T = TypeVar("T")

_DELETE_BATCH = 1000
_NO_BATCHES = {"InvalidRequest", "MethodNotAllowed", "MissingContentMD5", "NotImplemented"}
"""What services answer to DeleteObjects that do not have it, or take it with a Content-MD5 only."""
_TRANSFER = TransferConfig(
    multipart_threshold=64 * 1024 * 1024, multipart_chunksize=64 * 1024 * 1024, max_concurrency=8
)


def open_s3_folder(uri: str, storage: PodStorage, patience: Patience) -> S3Folder:
    """Return the folder at s3://bucket/prefix.

    Raises:
        UserError: the endpoint is no URL, or the credentials cannot be sent.
    """
    require_sendable("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    config = Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 2},
        max_pool_connections=64,
        # Own endpoints rarely answer for bucket names as host names.
        s3={"addressing_style": "path" if storage.endpoint else "auto"},
        # Checksum trailers are refused by older S3 services; SHA-256 goes in headers and metadata instead.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        client = boto3.session.Session().client(
            "s3", endpoint_url=storage.endpoint, region_name=storage.region, config=config
        )
        refuse_strangers(client.meta.events)
        asking = Asking(failure_of, client.meta.endpoint_url, patience)
        return S3Folder(client=client, location=Location.parse(uri), asking=asking)
    except ValueError as error:
        raise UserError("InvalidConfiguration", f"S3 cannot be reached as configured: {error}") from error


@dataclass(frozen=True)
class S3Folder:
    """A key prefix in a bucket."""

    client: S3Client
    location: Location
    asking: Asking

    @property
    def uri(self) -> str:
        return str(self.location)

    def child(self, name: str) -> S3Folder:
        return replace(self, location=self.location.child(name))

    def with_patience(self, seconds: float) -> S3Folder:
        return replace(self, asking=self.asking.limited(seconds))

    def list(self) -> list[StoredFile]:
        prefix = f"{self.location.key}/" if self.location.key else ""

        def pages() -> list[StoredFile]:
            found = []
            paginator = self.client.get_paginator("list_objects_v2")
            for page in paginator.paginate(Bucket=self.location.bucket, Prefix=prefix):
                for item in listed(page).get("Contents", ()):
                    name = item["Key"].removeprefix(prefix)
                    if name and not name.endswith("/"):
                        found.append(StoredFile(name=name, bytes=item["Size"], etag=item["ETag"].strip('"')))
            return sorted(found, key=lambda file: file.name)

        return self._call("ListBucket", "", pages)

    def stat(self, name: str) -> StoredFile | None:
        key = self._key(name)
        try:
            head = self._call(
                "GetObject",
                name,
                lambda: described(self.client.head_object(Bucket=self.location.bucket, Key=key)),
            )
        except ObjectNotFound:
            self._require_bucket()
            return None
        except UserError:
            self._require_bucket()
            raise
        return StoredFile(
            name=name,
            bytes=head["ContentLength"],
            etag=head["ETag"].strip('"'),
            sha256=head["Metadata"].get(SHA256_METADATA),
        )

    def read(self, name: str) -> bytes:
        return self._call("GetObject", name, lambda: self._get(name))

    def read_range(self, name: str, *, start: int, length: int, etag: str | None = None) -> bytes:
        wanted: dict[str, Any] = {"Range": f"bytes={start}-{start + length - 1}"}
        if etag is not None:
            wanted["IfMatch"] = etag
        return self._call("GetObject", name, lambda: self._get(name, **wanted))

    def write(self, name: str, body: bytes) -> FileEntry:
        digest = hashlib.sha256(body).hexdigest()
        self._call("PutObject", name, lambda: self._put(name, body, digest))
        return FileEntry(path=name, sha256=digest, bytes=len(body))

    def upload(self, source: Path, name: str) -> FileEntry:
        digest, size = sha256_of(source), source.stat().st_size

        def send() -> None:
            if size < _TRANSFER.multipart_threshold:
                with source.open("rb") as file:
                    self._put(name, file, digest)
            else:
                self.client.upload_file(
                    str(source),
                    self.location.bucket,
                    self._key(name),
                    ExtraArgs={"ContentType": content_type(name), "Metadata": {SHA256_METADATA: digest}},
                    Config=_TRANSFER,
                )

        self._call("PutObject", name, send)
        return FileEntry(path=name, sha256=digest, bytes=size)

    def copy_from(self, uri: str, entry: FileEntry) -> None:
        source = Location.parse(uri).child(entry.path)

        def copy() -> None:
            self.client.copy(
                {"Bucket": source.bucket, "Key": source.key},
                self.location.bucket,
                self._key(entry.path),
                # A copy in parts, which a large object takes, keeps neither.
                ExtraArgs={
                    "ContentType": content_type(entry.path),
                    "Metadata": {SHA256_METADATA: entry.sha256},
                    "MetadataDirective": "REPLACE",
                },
                Config=_TRANSFER,
            )

        self._call("PutObject", entry.path, copy)

    def download(self, name: str, target: Path, *, sha256: str | None = None) -> str:
        def fetch(partial: Path) -> None:
            self.client.download_file(self.location.bucket, self._key(name), str(partial), Config=_TRANSFER)

        return self._call("GetObject", name, lambda: fetch_verified(fetch, target, name=name, sha256=sha256))

    def delete(self, names: Iterable[str]) -> None:
        keys = [self._key(name) for name in names]
        for start in range(0, len(keys), _DELETE_BATCH):
            batch = keys[start : start + _DELETE_BATCH]

            self._call("DeleteObject", "", partial(self._delete_batch, batch))

    def _key(self, name: str) -> str:
        return self.location.child(name).key

    def _put(self, name: str, body: bytes | BinaryIO, digest: str) -> None:
        self.client.put_object(
            Bucket=self.location.bucket,
            Key=self._key(name),
            Body=body,
            ChecksumSHA256=base64.b64encode(bytes.fromhex(digest)).decode(),
            ContentType=content_type(name),
            Metadata={SHA256_METADATA: digest},
        )

    def _delete_batch(self, keys: Sequence[str]) -> None:
        try:
            answer = self.client.delete_objects(
                Bucket=self.location.bucket,
                Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
            )
        except ClientError as error:
            if _code(error) not in _NO_BATCHES:
                raise
            for key in keys:
                self.client.delete_object(Bucket=self.location.bucket, Key=key)
            return
        for failed in answer.get("Errors", ()):
            uri = str(replace(self.location, key=failed.get("Key", "")))
            code = failed.get("Code", "")
            failure = answered(code, status=0)
            if failure.kind is Kind.DENIED:
                raise Denied(failure, "s3:DeleteObject", uri)
            if failure.kind is not Kind.NOT_FOUND:
                raise TemporaryError(f"{uri}: {code}: {failed.get('Message', '')}")

    def _get(self, name: str, **wanted: Any) -> bytes:
        answer = self.client.get_object(Bucket=self.location.bucket, Key=self._key(name), **wanted)
        with answer["Body"] as body:
            described(answer)
            return body.read()

    def _require_bucket(self) -> None:
        """HeadObject has no words for what is wrong: a listing tells a missing bucket, or that this is no S3 service."""
        bucket = self.location.bucket
        try:
            self._call(
                "ListBucket", "", lambda: listed(self.client.list_objects_v2(Bucket=bucket, MaxKeys=1))
            )
        except ObjectNotFound as error:
            raise no_bucket(bucket) from error
        except UserError as error:
            if error.reason != "AccessDenied":  # without s3:ListBucket the bucket may well exist
                raise

    def _call(self, action: str, name: str, request: Callable[[], T]) -> T:
        uri = str(self.location.child(name)) if name else self.uri
        return self.asking.ask(f"s3:{action}", uri, request, bucket=self.location.bucket)


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")
