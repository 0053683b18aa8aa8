"""What the error codes of S3 services mean.

Each side turns the kind of a failure into an error of its own. The codes are those that AWS, MinIO, Ceph and versitygw
document; what none of them documents goes by its HTTP status. docs/adr/0013-one-table-of-s3-errors.md says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a failure of S3 means for who asked."""

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
    NOT_S3 = "NotS3"
    """What answers is no S3 service."""
    REFUSED = "Refused"
    """Anything else that the service does not take."""


PASSES: Final = frozenset({Kind.PASSING, Kind.CLOCK, Kind.FULL, Kind.NO_HOST, Kind.UNTRUSTED})
"""What is waited for."""

ADVICE: Final[Mapping[Kind, str]] = {
    Kind.CLOCK: "Set the clock of this machine or of S3, as NTP does.",
    Kind.FULL: "Free some room, or raise the quota.",
    Kind.NO_HOST: "Correct the host in storage.endpoint (of AWS: storage.region), or mend the cluster's DNS.",
    Kind.UNTRUSTED: "Operator and pods trust the public certificate authorities: give the service a certificate that one of "
    "them signed and that is valid for this host, or use http:// inside the cluster.",
    Kind.BAD_CREDENTIALS: "Write the credentials anew, without line breaks, as `printf %s` does where `echo` adds one.",
    Kind.ARCHIVED: "Restore the object to a storage class that can be read at once.",
    Kind.REGION: "The bucket is in another region: correct storage.region.",
    Kind.NOT_S3: "Correct storage.endpoint, or mend what stands before the service.",
}
"""What to do, where it is the same whoever asked."""

_CODES: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.PASSING: frozenset(
        {
            "BandwidthLimitExceeded", "Busy", "ClientDisconnected", "IncompleteBody", "InternalError",
            "NoSuchUpload", "OperationAborted", "PriorRequestNotComplete", "RequestLimitExceeded", "RequestTimeout",
            "RequestTimeoutException", "ServiceUnavailable", "SlowDown", "TemporaryRedirect", "Throttling",
            "ThrottlingException", "TooManyRequests", "TooManyRequestsException", "TransactionInProgressException",
            "KMS.ThrottlingException", "XAmzContentSHA256Mismatch",
        }
    ),
    Kind.CLOCK: frozenset({"RequestTimeTooSkewed"}),
    Kind.FULL: frozenset({"QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"}),
    Kind.DENIED: frozenset(
        {
            "AccessDenied", "AccessForbidden", "AccountProblem", "AllAccessDisabled", "ExpiredToken", "Forbidden",
            "InvalidAccessKeyId", "InvalidPayer", "InvalidSecurity", "InvalidToken", "InvalidTokenId",
            "KMS.DisabledException", "KMS.InvalidStateException", "KMS.NotFoundException", "NotSignedUp",
            "SignatureDoesNotMatch", "TokenRefreshRequired", "Unauthorized", "UnauthorizedAccess", "UserSuspended",
        }
    ),
    Kind.ARCHIVED: frozenset({"InvalidObjectState"}),
    Kind.NO_BUCKET: frozenset({"InvalidBucketName", "NoSuchBucket"}),
    Kind.REGION: frozenset(
        {"IllegalLocationConstraintException", "InvalidRegion", "PermanentRedirect"}
    ),
    Kind.NOT_FOUND: frozenset({"NoSuchKey", "NoSuchVersion", "NotFound", "Not Found"}),
    Kind.PRECONDITION: frozenset({"ConditionalRequestConflict", "PreconditionFailed"}),
    Kind.UNSUPPORTED: frozenset({"NotImplemented"}),
}  # fmt: skip
_KINDS: Final = {code: kind for kind, codes in _CODES.items() for code in codes}

_STATUSES: Final[Mapping[int, Kind]] = {
    301: Kind.REGION, 307: Kind.PASSING, 401: Kind.DENIED, 403: Kind.DENIED, 404: Kind.NOT_FOUND,
    408: Kind.PASSING, 412: Kind.PRECONDITION, 425: Kind.PASSING, 429: Kind.PASSING,
    499: Kind.PASSING, 501: Kind.UNSUPPORTED, 507: Kind.FULL,
}  # fmt: skip
"""Of answers that have no code: those to HEAD, which have no body, and those of what stands before the service."""
_NEVER_OF_S3: Final = frozenset({301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 406, 410, 415, 426, 501})
"""S3 gives its code with each of these, so that what answers without one is something else."""

_OF_THE_ENDPOINT: Final[Mapping[Kind, str]] = {
    Kind.NO_HOST: "cannot be found, as its host name cannot be resolved",
    Kind.NOT_S3: "is no S3 service",
    Kind.UNTRUSTED: "has a certificate that is not trusted",
}


@dataclass(frozen=True)
class S3Failure:
    """What went wrong with a request to S3."""

    kind: Kind
    code: str
    """S3's code, else the HTTP status, else the name of the library's error."""
    said: str
    """What S3 answered, or the library's own words; without values of secrets."""

    def told_of(self, endpoint: str) -> str:
        """Return what was said, with the endpoint where that is what is wrong."""
        wrong = _OF_THE_ENDPOINT.get(self.kind)
        return self.said if wrong is None else f"{endpoint} {wrong}: {self.said}"


def kind_of(code: str, status: int, *, detail: str = "", bodiless: bool = False) -> Kind:
    """Return what an error answer means: its code, where it has one, then its HTTP status.

    `detail` is the answer's own message; `bodiless` says that the answer can have no code, as that to a HEAD.
    """
    # The header names key and region; the detail tells which of them is wrong.
    if code == "AuthorizationHeaderMalformed":
        return Kind.REGION if "region" in detail else Kind.DENIED
    if code in _KINDS:
        return _KINDS[code]
    bare = not code or code.isdigit()
    if bare and not bodiless and status in _NEVER_OF_S3:
        return Kind.NOT_S3
    if status in _STATUSES and (bare or status not in (301, 404)):
        return _STATUSES[status]
    return Kind.PASSING if status >= 500 else Kind.REFUSED


def answered(code: str, status: int, *, detail: str = "", bodiless: bool = False) -> S3Failure:
    """Return the failure for an error answer, described as `kind_of` takes it."""
    kind = kind_of(code, status, detail=detail, bodiless=bodiless)
    if kind is Kind.NOT_S3:
        hint = ", which may say that it speaks TLS and wants https://" if status == 400 else ""
        return S3Failure(kind, code, f"it answers HTTP {status} without an error code of S3{hint}")
    words = f": {detail.rstrip('.')}" if detail else ""
    return S3Failure(kind, code, f"S3 answered {code} (HTTP {status}){words}")
