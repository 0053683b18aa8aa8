"""Objects in GCS. Google's client is imported with the first request, because an operator without work should stay small.

The entity tag of an object is its generation: a number that each write changes.
"""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any, Final

from modelgarden.api.access import GcsStorage
from modelgarden.api.gcs.failures import failure_of
from modelgarden.api.layout import SHA256_METADATA, Location
from modelgarden.api.storage.failures import GCS, Service, StorageFailure
from modelgarden.registry.errors import Refused
from modelgarden.registry.objects import Content, ObjectInfo

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"
ENDPOINT: Final = "https://storage.googleapis.com"
_CALL: Final[dict[str, Any]] = {"timeout": (3.0, 10.0), "retry": None}
"""Seconds to connect, and without a byte; who asks tries again."""
_NO_PROJECT: Final = "none"
"""Objects are asked for without one."""


class GcsObjects:
    """Objects in GCS; the client is made by its first use, in the pool's thread."""

    service: Service = GCS

    def __init__(self, storage: GcsStorage, key: dict[str, Any] | None) -> None:
        self._endpoint = storage.endpoint
        self._key = key
        self._client: Client | None = None
        self._making = threading.Lock()

    @property
    def endpoint(self) -> str:
        """Return the URL of the service."""
        return self._endpoint or ENDPOINT

    def failure_of(self, error: BaseException) -> StorageFailure | None:
        """Return what went wrong with a request; None where the error is of something else."""
        return failure_of(error)

    def require_bucket(self, bucket: str) -> None:
        """List one object at most."""
        for _ in self._connected().list_blobs(bucket, max_results=1, **_CALL):
            pass

    def head(self, location: Location) -> ObjectInfo:
        """Return what GCS says of an object."""
        blob = self._blob(location)
        blob.reload(**_CALL)
        return _info(blob)

    def get(self, location: Location, *, most: int) -> Content:
        """Return an object's content; nothing of it where it has more bytes than `most`."""
        found = self.head(location)
        if found.size > most:
            return Content(b"", etag=found.etag, size=found.size)
        # Of this generation: content and entity tag belong together.
        blob = self._blob(location, generation=int(found.etag))
        body = blob.download_as_bytes(raw_download=True, **_CALL)
        return Content(body, etag=found.etag, size=found.size)

    def put(self, location: Location, content: bytes, *, if_none_match: bool, if_match: str | None) -> None:
        """Write an object, on a condition where one is given."""
        blob = self._blob(location)
        blob.metadata = {SHA256_METADATA: hashlib.sha256(content).hexdigest()}
        # Generation 0 is that of an object that is not there.
        generation = 0 if if_none_match else int(if_match) if if_match is not None else None
        blob.upload_from_string(
            content, content_type="application/json", if_generation_match=generation, **_CALL
        )

    def list(self, prefix: Location, *, start: str, limit: int) -> tuple[ObjectInfo, ...]:
        """Return the first objects below a folder whose names have this start."""
        blobs = self._connected().list_blobs(
            prefix.bucket,
            prefix=f"{prefix.key}/{start}" if prefix.key else start,
            max_results=limit,
            fields="items(name,size,generation,updated),nextPageToken",
            **_CALL,
        )
        return tuple(_info(blob) for blob in blobs)

    def _blob(self, location: Location, *, generation: int | None = None) -> Blob:
        bucket = self._connected().bucket(location.bucket)
        return bucket.blob(location.key, generation=generation)

    def _connected(self) -> Client:
        with self._making:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> Client:
        from google.cloud.storage import Client

        options = {"api_endpoint": self._endpoint} if self._endpoint else None
        return Client(project=_NO_PROJECT, credentials=self._credentials(), client_options=options)

    def _credentials(self) -> Any:
        import google.auth
        from google.auth.credentials import AnonymousCredentials
        from google.oauth2.service_account import Credentials

        if self._key is not None:
            try:
                return Credentials.from_service_account_info(self._key, scopes=[SCOPE])
            except ValueError:
                # The library's words may show parts of the key.
                raise Refused(
                    "SecretInvalid",
                    "The key of the service account has a private_key that cannot be read. Write it anew, as it was issued.",
                ) from None
        if self._endpoint is not None:
            # A token of the operator's own is for Google alone, and not for whoever a spec names.
            return AnonymousCredentials()
        return google.auth.default(scopes=[SCOPE])[0]


def _info(blob: Blob) -> ObjectInfo:
    return ObjectInfo(
        key=blob.name,
        size=blob.size,
        etag=str(blob.generation),
        last_modified=blob.updated,
        sha256=(blob.metadata or {}).get(SHA256_METADATA),
    )
