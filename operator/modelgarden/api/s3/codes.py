"""What the error codes of S3 services mean.

Each side turns the kind of a failure into an error of its own. The codes are those that AWS, MinIO, Ceph and versitygw
document; what none of them documents goes by its HTTP status. docs/adr/0013-one-table-of-s3-errors.md says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelgarden.api.storage.failures import S3, Kind, StorageFailure

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
        return Kind.STRANGER
    if status in _STATUSES and (bare or status not in (301, 404)):
        return _STATUSES[status]
    return Kind.PASSING if status >= 500 else Kind.REFUSED


def answered(code: str, status: int, *, detail: str = "", bodiless: bool = False) -> StorageFailure:
    """Return the failure for an error answer, described as `kind_of` takes it."""
    kind = kind_of(code, status, detail=detail, bodiless=bodiless)
    if kind is Kind.STRANGER:
        hint = ", which may say that it speaks TLS and wants https://" if status == 400 else ""
        return StorageFailure(S3, kind, code, f"it answers HTTP {status} without an error code of S3{hint}")
    words = f": {detail.rstrip('.')}" if detail else ""
    return StorageFailure(S3, kind, code, f"S3 answered {code} (HTTP {status}){words}")
