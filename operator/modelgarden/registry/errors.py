"""What can go wrong with S3, in the terms of the conditions.

StorageError
  Unavailable  S3 does not answer for now; wait and try again
  Refused      S3 or the API refuses the credentials, the action or the object
  Missing      a bucket or an input is not there
"""

from __future__ import annotations

from typing import Any, Self

from modelgarden.api.conditions import Problem
from modelgarden.api.messages import clean
from modelgarden.api.redaction import redacted

_BUCKET_CODES = frozenset({"NoSuchBucket", "InvalidBucketName"})
_REGION_CODES = frozenset(
    {"301", "307", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
_PASSING_CODES = frozenset({"429", "SlowDown", "RequestTimeout", "TooManyRequests"})
_UNSUPPORTED_CODES = frozenset({"501", "NotImplemented"})


class StorageError(Exception):
    """A problem with S3: a reason of the closed list, and a message that says what to do, without values of secrets."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        self.message = redacted(message)
        super().__init__(f"{reason}: {self.message}")
        self.due: float | None = None
        """Seconds after which another look may be answered otherwise, where the answer is kept until then."""

    def due_in(self, seconds: float) -> Self:
        """Return the same error for one of those who share it."""
        error = type(self).__new__(type(self), *self.args)
        vars(error).update(vars(self), due=seconds)
        return error

    @property
    def problem(self) -> Problem:
        """Return it in the terms of the conditions."""
        return Problem(self.reason, self.message, recheck_after=self.due)


class Unavailable(StorageError):  # noqa: N818 -- named for what is done about it
    """S3 does not answer for now."""

    def __init__(self, message: str) -> None:
        super().__init__("StorageUnavailable", message)


class Refused(StorageError):  # noqa: N818
    """The credentials, the action or the object are refused; trying again alone does not help."""


class Missing(StorageError):  # noqa: N818
    """A bucket or an input is not there."""


def refusal(*, code: str, status: int, action: str, target: str, detail: str = "") -> StorageError:
    """Return the error for an S3 error response: its code, its HTTP status, and what was asked of what."""
    words = f": {detail.rstrip('.')}" if detail else ""
    said = f"{action} {target}: S3 answered {code} (HTTP {status}){words}."
    if code in _UNSUPPORTED_CODES:
        return Refused(
            "AccessDenied",
            f"{said} This S3 service lacks conditional writes (If-None-Match), which the registry needs.",
        )
    if status >= 500 or code in _PASSING_CODES:
        return Unavailable(f"{said} The operator keeps trying.")
    if code in _BUCKET_CODES:
        return Missing(
            "BucketNotFound", f"{said} Create the bucket, or name another (of a FineTuneJob: in a new one)."
        )
    if code in _REGION_CODES:
        return Missing("BucketNotFound", f"{said} The bucket is in another region: correct storage.region.")
    return Refused(
        "AccessDenied",
        f"{said} Check the keys in the credentials secret, and grant them read on the inputs and write on "
        "the output.",
    )


def transport_failure(error: Exception, *, action: str, target: str) -> StorageError:
    """Return the error for a request that got no answer from S3."""
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
        return Refused(
            "AccessDenied",
            f"{action} {target}: no S3 credentials. Set storage.credentialsSecretRef, or give the service "
            "accounts of the operator and of the pods a role.",
        )
    if type(error).__name__ == "ParamValidationError":
        return Missing("BucketNotFound", f"{action} {target}: {_short(error)}. Correct the URI.")
    return Unavailable(f"{action} {target}: S3 does not answer ({_short(error)}). The operator keeps trying.")


def _short(error: Any) -> str:
    return clean(str(error), length=300)
