"""The port to object storage: what the operator asks a service, whichever it is. Its requests block; service.py runs them.

Writes on a condition go by the object's entity tag, which is opaque: the ETag of S3, the generation of GCS.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from modelgarden.api.layout import Location
from modelgarden.api.storage.failures import Service, StorageFailure


@dataclass(frozen=True)
class ObjectInfo:
    """What a service says of an object without its content."""

    key: str
    size: int
    etag: str
    """Its entity tag, which changes with every write of other content."""
    last_modified: datetime
    sha256: str | None = None
    """From the object's metadata; never in a listing."""


@dataclass(frozen=True)
class Content:
    """An object's content, as far as it was asked for."""

    body: bytes
    etag: str
    size: int
    """Of the whole object, in bytes."""


class Objects(Protocol):
    """Objects of one service with one set of credentials.

    Every method raises the errors of the service's libraries, which `failure_of` reads: of an object that is not there
    as of one that does not meet a condition.
    """

    @property
    def service(self) -> Service:
        """Return which kind of storage it is."""
        ...

    @property
    def endpoint(self) -> str:
        """Return the URL that is asked, "" before the first request."""
        ...

    def failure_of(self, error: BaseException) -> StorageFailure | None:
        """Return what went wrong with a request; None where the error is of something else."""
        ...

    def require_bucket(self, bucket: str) -> None:
        """Ask for what is told of a bucket that is not there, too."""
        ...

    def head(self, location: Location) -> ObjectInfo:
        """Return what is known about an object."""
        ...

    def get(self, location: Location, *, most: int) -> Content:
        """Return an object's content; nothing of it where it has more bytes than `most`."""
        ...

    def put(self, location: Location, content: bytes, *, if_none_match: bool, if_match: str | None) -> None:
        """Write an object, where none is or only over the one with an entity tag if that is asked for."""
        ...

    def list(self, prefix: Location, *, start: str, limit: int) -> tuple[ObjectInfo, ...]:
        """Return the objects below a folder in key order, the first of those whose names have this start."""
        ...
