"""What the answers of GCS's JSON API mean.

By the reason that an answer gives, then by its HTTP status, as
https://docs.cloud.google.com/storage/docs/json_api/v1/status-codes documents both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from modelgarden.api.storage.failures import GCS, Kind, StorageFailure

_REASONS: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.PASSING: frozenset(
        {
            "backendError", "conflict", "internalError", "quotaExceeded", "rateLimitExceeded", "uploadBrokenConnection",
            "userRateLimitExceeded",
        }
    ),
    Kind.DENIED: frozenset(
        {
            "authError", "forbidden", "insufficientPermissions", "required", "UserProjectAccessDenied",
            "userProjectMissing",
        }
    ),
    Kind.NOT_FOUND: frozenset({"notFound"}),
    Kind.PRECONDITION: frozenset({"conditionNotMet"}),
    Kind.UNSUPPORTED: frozenset({"notImplemented"}),
    Kind.REFUSED: frozenset({"accountDisabled", "objectUnderActiveHold", "retentionPolicyNotMet"}),
}  # fmt: skip
_KINDS: Final = {reason: kind for kind, reasons in _REASONS.items() for reason in reasons}

_STATUSES: Final[Mapping[int, Kind]] = {
    304: Kind.PRECONDITION, 308: Kind.PASSING, 401: Kind.DENIED, 403: Kind.DENIED, 404: Kind.NOT_FOUND,
    408: Kind.PASSING, 409: Kind.PASSING, 410: Kind.PASSING, 412: Kind.PRECONDITION, 429: Kind.PASSING,
    501: Kind.UNSUPPORTED,
}  # fmt: skip
_NEVER_OF_GCS: Final = frozenset({301, 302, 303, 307, 400, 401, 403, 404, 405, 406, 415, 426, 501})
"""GCS gives its reason with each of these, so that what answers without one is something else."""


@dataclass(frozen=True)
class Answer:
    """An error answer."""

    status: int
    reason: str
    """That GCS gives, "" where the answer has none."""
    message: str
    about: str = "metadata"
    """What the request was for: `metadata`, `content` (whose errors are bare text), `objects` (a listing or an object
    to be made, so that only the bucket can be missing) or `session` (of an upload in parts)."""


def answered(answer: Answer) -> StorageFailure:
    """Return the failure for an error answer."""
    kind, status = _kind_of(answer), answer.status
    code = answer.reason or str(status)
    if kind is Kind.STRANGER:
        hint = ", which may say that it speaks TLS and wants https://" if status == 400 else ""
        return StorageFailure(GCS, kind, code, f"it answers HTTP {status} without a reason of GCS{hint}")
    words = f": {answer.message}" if answer.message else ""
    return StorageFailure(GCS, kind, code, f"GCS answered {code} (HTTP {status}){words}")


def _kind_of(answer: Answer) -> Kind:
    status = answer.status
    if not answer.reason and answer.about in ("metadata", "objects") and status in _NEVER_OF_GCS:
        return Kind.STRANGER
    kind = _KINDS.get(answer.reason) or _STATUSES.get(status)
    if kind is Kind.NOT_FOUND and answer.about == "objects":
        return Kind.NO_BUCKET
    if kind is Kind.NOT_FOUND and answer.about == "session":
        return Kind.PASSING
    if status == 400 and "bucket name" in answer.message.lower():
        return Kind.NAME
    return kind or (Kind.PASSING if status >= 500 else Kind.REFUSED)
