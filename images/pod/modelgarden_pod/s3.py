"""Folders in S3, with the interface of `folder.Folder`. The only module of the pods that imports boto3."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import boto3
from boto3.exceptions import Boto3Error, S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from urllib3.exceptions import HTTPError

from modelgarden.api.artifact import FileEntry
from modelgarden.api.layout import SHA256_METADATA, Location
from modelgarden.api.pods import PodStorage
from modelgarden_pod.errors import ObjectNotFound, PodError, TemporaryError, UserError
from modelgarden_pod.folder import StoredFile, fetch_verified, sha256_of
from modelgarden_pod.retry import Patience

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

T = TypeVar("T")

_MISSING = {"404", "NoSuchKey", "NotFound", "412", "PreconditionFailed"}
_DENIED = {
    "401", "403", "AccessDenied", "AccountProblem", "AllAccessDisabled", "ExpiredToken", "Forbidden",
    "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "Unauthorized",
}  # fmt: skip
_TEMPORARY = {"NoSuchUpload", "RequestTimeout", "RequestTimeTooSkewed", "SlowDown", "Throttling"}
_DELETE_BATCH = 1000
_NO_BATCHES = {"InvalidRequest", "MethodNotAllowed", "MissingContentMD5", "NotImplemented"}
"""What services answer to DeleteObjects that do not have it, or take it with a Content-MD5 only."""
_TYPES = {".json": "application/json", ".jsonl": "application/jsonl", ".md": "text/markdown; charset=utf-8"}
_TRANSFER = TransferConfig(
    multipart_threshold=64 * 1024 * 1024, multipart_chunksize=64 * 1024 * 1024, max_concurrency=8
)


def open_s3_folder(uri: str, storage: PodStorage, patience: Patience) -> S3Folder:
    """Return the folder at s3://bucket/prefix.

    Raises:
        UserError: the endpoint is no URL, or no credentials are given.
    """
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
        return S3Folder(client=client, location=Location.parse(uri), patience=patience)
    except ValueError as error:
        raise UserError("InvalidConfiguration", f"S3 cannot be reached as configured: {error}") from error


@dataclass(frozen=True)
class S3Folder:
    """A key prefix in a bucket."""

    client: S3Client
    location: Location
    patience: Patience
    granted: set[str] = field(default_factory=set, compare=False, repr=False)
    """Actions that S3 has taken; folders derived from this one share it."""

    @property
    def uri(self) -> str:
        return str(self.location)

    def child(self, name: str) -> S3Folder:
        return replace(self, location=self.location.child(name))

    def with_patience(self, seconds: float) -> S3Folder:
        return replace(self, patience=self.patience.limited(seconds))

    def list(self) -> list[StoredFile]:
        prefix = f"{self.location.key}/" if self.location.key else ""

        def pages() -> list[StoredFile]:
            found = []
            paginator = self.client.get_paginator("list_objects_v2")
            for page in paginator.paginate(Bucket=self.location.bucket, Prefix=prefix):
                for item in page.get("Contents", ()):
                    name = item["Key"].removeprefix(prefix)
                    if name and not name.endswith("/"):
                        found.append(StoredFile(name=name, bytes=item["Size"], etag=item["ETag"].strip('"')))
            return sorted(found, key=lambda file: file.name)

        return self._call("ListBucket", "", pages)

    def stat(self, name: str) -> StoredFile | None:
        key = self._key(name)
        try:
            head = self._call(
                "GetObject", name, lambda: self.client.head_object(Bucket=self.location.bucket, Key=key)
            )
        except ObjectNotFound:
            self._require_bucket()
            return None
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
                    ExtraArgs={"ContentType": _content_type(name), "Metadata": {SHA256_METADATA: digest}},
                    Config=_TRANSFER,
                )

        self._call("PutObject", name, send)
        return FileEntry(path=name, sha256=digest, bytes=size)

    def download(self, name: str, target: Path, *, sha256: str | None = None) -> FileEntry:
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
            ContentType=_content_type(name),
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
            if code in _DENIED:
                raise Denied(code, "DeleteObject", uri)
            if code not in _MISSING:
                raise TemporaryError(f"{uri}: {code}: {failed.get('Message', '')}")

    def _get(self, name: str, **wanted: Any) -> bytes:
        answer = self.client.get_object(Bucket=self.location.bucket, Key=self._key(name), **wanted)
        return answer["Body"].read()

    def _require_bucket(self) -> None:
        """A missing key and a missing bucket look the same to HeadObject: ask for the bucket itself."""
        try:
            self._call("ListBucket", "", lambda: self.client.head_bucket(Bucket=self.location.bucket))
        except ObjectNotFound as error:
            raise _no_bucket(self.location.bucket) from error
        except UserError as error:
            if error.reason != "AccessDenied":  # without s3:ListBucket the bucket may well exist
                raise

    def _call(self, action: str, name: str, request: Callable[[], T]) -> T:
        uri = str(self.location.child(name)) if name else self.uri

        def attempt() -> T:
            try:
                with _errors(action, uri, self.location.bucket):
                    result = request()
            except Denied as error:
                if action in self.granted:
                    raise _denied_now(error) from error
                raise
            self.granted.add(action)
            return result

        return self.patience.retry(f"s3:{action} on {uri}", attempt)


def _content_type(name: str) -> str:
    return _TYPES.get(Path(name).suffix, "application/octet-stream")


def _no_bucket(bucket: str) -> UserError:
    return UserError("BucketNotFound", f"bucket {bucket!r} does not exist; create it, or use another")


@contextmanager
def _errors(action: str, uri: str, bucket: str) -> Iterator[None]:
    """Turn boto3's errors into a UserError or a TemporaryError."""
    try:
        yield
    except ClientError as error:
        raise _from_code(error, action, uri, bucket) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise UserError(
            "AccessDenied",
            f"no credentials for {uri}: set storage.credentialsSecretRef, or a service account with access to S3",
        ) from error
    except S3UploadFailedError as error:
        cause = error.__context__
        if isinstance(cause, ClientError):
            raise _from_code(cause, action, uri, bucket) from error
        raise TemporaryError(f"{uri}: {error}") from error
    except (BotoCoreError, Boto3Error, IncompleteReadError, HTTPError) as error:
        raise TemporaryError(f"{uri}: {error}") from error


def _from_code(error: ClientError, action: str, uri: str, bucket: str) -> Exception:
    code = _code(error)
    if code == "NoSuchBucket":
        return _no_bucket(bucket)
    if code in _MISSING:
        return ObjectNotFound(uri)
    if code in _DENIED:
        return Denied(code, action, uri)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    if code in _TEMPORARY or status >= 500 or status in {408, 429}:
        return TemporaryError(f"{uri}: {error}")
    return UserError("AccessDenied", f"S3 refused s3:{action} on {uri}: {error}")


class Denied(UserError):  # noqa: N818 -- says what is so
    """The credentials or the action are refused."""

    def __init__(self, code: str, action: str, uri: str) -> None:
        self.refusal = f"S3 refused s3:{action} on {uri} ({code})"
        super().__init__("AccessDenied", f"{self.refusal}: check the credentials and grant this action")


def _denied_now(error: Denied) -> PodError:
    """Return a refusal of what was granted before: no wrong input, as a new pod may well have other credentials."""
    return PodError(
        "AccessDenied",
        f"{error.refusal}, which it took before: the credentials were changed or expired while this pod ran; "
        "a new pod gets those that the secret holds by then",
    )


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")
