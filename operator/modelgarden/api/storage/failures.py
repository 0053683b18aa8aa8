"""What can go wrong with a request to object storage: the kinds of failure, and what is to be done about each.

`api.s3` and `api.gcs` read an answer or a library's error into a failure; operator and pods each turn its kind into an
error of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a failure of object storage means for who asked."""

    PASSING = "Passing"
    """It does not answer, or asks to come again."""
    CLOCK = "Clock"
    """The two clocks differ by too much; passes when they are set."""
    FULL = "Full"
    """There is no room for more; passes when there is."""
    NO_HOST = "NoHost"
    """The endpoint's host name has no address; passes when it is registered, or when DNS answers again."""
    UNTRUSTED = "Untrusted"
    """The endpoint's certificate is not trusted; passes when it gets another."""
    DENIED = "Denied"
    """The credentials or the action are refused."""
    NO_CREDENTIALS = "NoCredentials"
    BAD_CREDENTIALS = "BadCredentials"
    """They cannot even be sent."""
    ARCHIVED = "Archived"
    """The object has to be restored before it can be read."""
    NO_BUCKET = "NoBucket"
    REGION = "Region"
    """The bucket, or the service, is in another region."""
    NAME = "Name"
    """No bucket can have the name."""
    NOT_FOUND = "NotFound"
    PRECONDITION = "Precondition"
    """The object is, or is not, what the request asked it to be."""
    UNSUPPORTED = "Unsupported"
    """The service does not have what was asked for."""
    STRANGER = "Stranger"
    """What answers is no such service."""
    REFUSED = "Refused"
    """Anything else that the service does not take."""


PASSES: Final = frozenset({Kind.PASSING, Kind.CLOCK, Kind.FULL, Kind.NO_HOST, Kind.UNTRUSTED})
"""What is waited for."""


@dataclass(frozen=True)
class Service:
    """A kind of object storage, and where a spec says how it is reached."""

    name: str
    endpoint: str
    """Field with its URL."""
    host: str
    """What to correct where its host is not found."""
    credentials: str
    """Field with its credentials."""
    region: str
    """What to do where the bucket is in another region."""


S3: Final = Service(
    name="S3",
    endpoint="storage.endpoint",
    host="storage.endpoint (of AWS: storage.region)",
    credentials="storage.credentialsSecretRef",
    region="The bucket is in another region: correct storage.region.",
)
GCS: Final = Service(
    name="GCS",
    endpoint="storage.gcs.endpoint",
    host="storage.gcs.endpoint",
    credentials="storage.gcs.credentialsSecretRef",
    region="The bucket is in another region.",
)

_ADVICE: Final[Mapping[Kind, str]] = {
    Kind.CLOCK: "Set the clock of this machine or of {name}, as NTP does.",
    Kind.FULL: "Free some room, or raise the quota.",
    Kind.NO_HOST: "Correct the host in {host}, or mend the cluster's DNS.",
    Kind.UNTRUSTED: "Operator and pods trust the public certificate authorities: give the service a certificate that one of "
    "them signed and that is valid for this host, or use http:// inside the cluster.",
    Kind.BAD_CREDENTIALS: "Write the credentials anew, without line breaks, as `printf %s` does where `echo` adds one.",
    Kind.ARCHIVED: "Restore the object to a storage class that can be read at once.",
    Kind.REGION: "{region}",
    Kind.STRANGER: "Correct {endpoint}, or mend what stands before the service.",
}
_OF_THE_ENDPOINT: Final[Mapping[Kind, str]] = {
    Kind.NO_HOST: "cannot be found, as its host name cannot be resolved",
    Kind.STRANGER: "is no {name} service",
    Kind.UNTRUSTED: "has a certificate that is not trusted",
}


@dataclass(frozen=True)
class StorageFailure:
    """What went wrong with a request."""

    service: Service
    kind: Kind
    code: str
    """The service's code, else the HTTP status, else the name of the library's error."""
    said: str
    """What the service answered, or the library's own words; without values of secrets."""

    @property
    def advice(self) -> str | None:
        """Return what to do, where it is the same whoever asked."""
        advice = _ADVICE.get(self.kind)
        return None if advice is None else advice.format(**vars(self.service))

    def told_of(self, endpoint: str) -> str:
        """Return what was said, with the endpoint where that is what is wrong."""
        wrong = _OF_THE_ENDPOINT.get(self.kind)
        return self.said if wrong is None else f"{endpoint} {wrong.format(**vars(self.service))}: {self.said}"
