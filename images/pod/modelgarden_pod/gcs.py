"""Folders in GCS, with the interface of `folder.Folder`. The only module of the pods that imports Google's client.

The entity tag of a file is its generation: a number that each write changes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import google.auth
from google.api_core.exceptions import NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Blob, Client
from google.cloud.storage.retry import DEFAULT_RETRY
from google.oauth2.service_account import Credentials

from modelgarden.api.artifact import FileEntry
from modelgarden.api.gcs.failures import failure_of
from modelgarden.api.gcs.key import CREDENTIALS_KEY, secrets_of, service_account_of
from modelgarden.api.layout import SHA256_METADATA, Location
from modelgarden.api.pods import PodStorage
from modelgarden.api.redaction import keep_secret
from modelgarden_pod.asking import Asking
from modelgarden_pod.errors import ObjectNotFound, UserError
from modelgarden_pod.folder import StoredFile, content_type, fetch_verified, sha256_of
from modelgarden_pod.retry import Patience

T = TypeVar("T")

_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"
_TIMEOUT: Final = (5.0, 60.0)
"""Seconds to connect, and without a byte."""
_GOES_ON: Final = DEFAULT_RETRY.with_timeout(20.0)
"""Of large files: within so many seconds one goes on from where it was cut off, after that from its beginning."""
_ONE_REQUEST_BYTES: Final = 8 * 1024 * 1024
"""Files of more bytes are sent in parts, by the client's own rule."""
_NO_PROJECT: Final = "none"
"""Objects are asked for without one."""


def open_gcs_folder(uri: str, storage: PodStorage, patience: Patience) -> GcsFolder:
    """Return the folder at gs://bucket/prefix.

    Raises:
        UserError: the credentials are no key of a service account (SecretInvalid), or there are none (AccessDenied).
        TemporaryError: whoever gives credentials does not answer.
    """
    location = Location.parse(uri)
    endpoint = storage.gcs_endpoint
    asking = Asking(failure_of, endpoint or "https://storage.googleapis.com", patience)
    client = asking.ask("a token", uri, partial(_connect, endpoint), bucket=location.bucket)
    return GcsFolder(client=client, location=location, asking=asking)


def _connect(endpoint: str | None) -> Client:
    given = os.environ.get(CREDENTIALS_KEY)
    credentials = (
        _of_key(given, endpoint)
        if given
        # A token of this pod's own is for Google alone, and not for whoever a spec names.
        else AnonymousCredentials()
        if endpoint
        else google.auth.default(scopes=[_SCOPE])[0]
    )
    options = {"api_endpoint": endpoint} if endpoint else None
    return Client(project=_NO_PROJECT, credentials=credentials, client_options=options)


def _of_key(value: str, endpoint: str | None) -> Credentials:
    try:
        key = service_account_of(value, endpoint=endpoint)
        for secret in secrets_of(key):
            keep_secret(secret)
    except ValueError as error:
        raise UserError(
            "SecretInvalid", f"{CREDENTIALS_KEY}, from the secret that the spec names, {error}"
        ) from None
    try:
        return Credentials.from_service_account_info(key, scopes=[_SCOPE])
    except ValueError:
        # The library's words may show parts of the key.
        raise UserError(
            "SecretInvalid",
            f"{CREDENTIALS_KEY}, from the secret that the spec names, has a private_key that cannot be read",
        ) from None


@dataclass(frozen=True)
class GcsFolder:
    """A name prefix in a bucket."""

    client: Client
    location: Location
    asking: Asking

    @property
    def uri(self) -> str:
        return str(self.location)

    def child(self, name: str) -> GcsFolder:
        return replace(self, location=self.location.child(name))

    def with_patience(self, seconds: float) -> GcsFolder:
        return replace(self, asking=self.asking.limited(seconds))

    def list(self) -> list[StoredFile]:
        prefix = f"{self.location.key}/" if self.location.key else ""

        def pages() -> list[StoredFile]:
            blobs = self.client.list_blobs(
                self.location.bucket,
                prefix=prefix,
                fields="items(name,size,generation),nextPageToken",
                timeout=_TIMEOUT,
                retry=None,
            )
            named = ((blob.name.removeprefix(prefix), blob) for blob in blobs)
            found = (
                StoredFile(name=name, bytes=blob.size, etag=str(blob.generation))
                for name, blob in named
                if name and not name.endswith("/")
            )
            return sorted(found, key=lambda file: file.name)

        return self._ask("list", "", pages)

    def stat(self, name: str) -> StoredFile | None:
        blob = self._blob(name)
        try:
            self._ask("get", name, lambda: blob.reload(timeout=_TIMEOUT, retry=None))
        except ObjectNotFound:
            self._require_bucket()
            return None
        return StoredFile(
            name=name,
            bytes=blob.size,
            etag=str(blob.generation),
            sha256=(blob.metadata or {}).get(SHA256_METADATA),
        )

    def read(self, name: str) -> bytes:
        return self._ask("get", name, lambda: _content(self._blob(name)))

    def read_range(self, name: str, *, start: int, length: int, etag: str | None = None) -> bytes:
        blob = self._blob(name, generation=int(etag) if etag is not None else None)
        return self._ask("get", name, lambda: _content(blob, start=start, end=start + length - 1))

    def write(self, name: str, body: bytes) -> FileEntry:
        digest = hashlib.sha256(body).hexdigest()
        blob = self._new(name, digest)
        kind = content_type(name)
        self._ask(
            "create",
            name,
            lambda: blob.upload_from_string(body, content_type=kind, timeout=_TIMEOUT, retry=None),
        )
        return FileEntry(path=name, sha256=digest, bytes=len(body))

    def upload(self, source: Path, name: str) -> FileEntry:
        digest, size = sha256_of(source), source.stat().st_size
        blob = self._new(name, digest)
        retry = _GOES_ON if size > _ONE_REQUEST_BYTES else None
        self._ask(
            "create",
            name,
            lambda: blob.upload_from_filename(
                str(source), content_type=content_type(name), timeout=_TIMEOUT, retry=retry
            ),
        )
        return FileEntry(path=name, sha256=digest, bytes=size)

    def copy_from(self, uri: str, entry: FileEntry) -> None:
        place = Location.parse(uri).child(entry.path)
        source = self.client.bucket(place.bucket).blob(place.key)
        blob = self._new(entry.path, entry.sha256)
        blob.content_type = content_type(entry.path)

        def copy() -> None:
            token, *_ = blob.rewrite(source, timeout=_TIMEOUT, retry=None)
            while token:  # a large object is copied in steps
                token, *_ = blob.rewrite(source, token=token, timeout=_TIMEOUT, retry=None)

        self._ask("create", entry.path, copy)

    def download(self, name: str, target: Path, *, sha256: str | None = None) -> str:
        def fetch(partial: Path) -> None:
            self._blob(name).download_to_filename(
                str(partial), raw_download=True, timeout=_TIMEOUT, retry=_GOES_ON
            )

        return self._ask("get", name, lambda: fetch_verified(fetch, target, name=name, sha256=sha256))

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self._ask("delete", name, partial(_remove, self._blob(name)))

    def _blob(self, name: str, *, generation: int | None = None) -> Blob:
        place = self.location.child(name)
        return self.client.bucket(place.bucket).blob(place.key, generation=generation)

    def _new(self, name: str, digest: str) -> Blob:
        blob = self._blob(name)
        blob.metadata = {SHA256_METADATA: digest}
        return blob

    def _require_bucket(self) -> None:
        """Tell an object that is not there from a bucket that is not."""
        bucket = self.location.bucket
        try:
            self._ask(
                "list",
                "",
                lambda: list(self.client.list_blobs(bucket, max_results=1, timeout=_TIMEOUT, retry=None)),
            )
        except UserError as error:
            if error.reason != "AccessDenied":  # who may not list may well read
                raise

    def _ask(self, action: str, name: str, request: Callable[[], T]) -> T:
        uri = str(self.location.child(name)) if name else self.uri
        return self.asking.ask(f"storage.objects.{action}", uri, request, bucket=self.location.bucket)


def _content(blob: Blob, *, start: int | None = None, end: int | None = None) -> bytes:
    content: bytes = blob.download_as_bytes(
        start=start, end=end, raw_download=True, timeout=_TIMEOUT, retry=None
    )
    return content


def _remove(blob: Blob) -> None:
    with suppress(NotFound):
        blob.delete(timeout=_TIMEOUT, retry=None)
