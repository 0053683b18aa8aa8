"""What can go wrong with object storage, in the terms of the conditions.

StorageError
  Unavailable  it does not answer for now; wait and try again
  Refused      it or the API refuses the credentials, the action or the object
  Missing      a bucket or an input is not there
"""

from __future__ import annotations

from typing import Self

from modelgarden.api.conditions import Problem
from modelgarden.api.redaction import redacted
from modelgarden.api.storage.failures import PASSES, Kind, StorageFailure


class StorageError(Exception):
    """A problem with storage: a reason of the closed list, and a message that says what to do, without values of secrets."""

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
    """Storage does not answer for now."""

    def __init__(self, message: str) -> None:
        super().__init__("StorageUnavailable", message)


class Refused(StorageError):  # noqa: N818
    """The credentials, the action or the object are refused; trying again alone does not help."""


class Missing(StorageError):  # noqa: N818
    """A bucket or an input is not there."""


_OTHERWISE = (
    "AccessDenied",
    "Check the keys in the credentials secret, and grant them read on the inputs and write on the output.",
)
_REFUSALS = {
    Kind.NO_CREDENTIALS: (
        "AccessDenied",
        "Set {credentials}, or give the service accounts of the operator and of the pods a role.",
    ),
    Kind.BAD_CREDENTIALS: ("SecretInvalid", ""),
    Kind.ARCHIVED: ("AccessDenied", ""),
    Kind.STRANGER: ("EndpointInvalid", ""),
    Kind.UNSUPPORTED: (
        "AccessDenied",
        "This {name} service lacks conditional writes (If-None-Match), which the registry needs.",
    ),
}
"""Reason and advice; "" is the advice that all are given."""
_MISSING = {
    Kind.NO_BUCKET: "Create the bucket, or name another (of a FineTuneJob: in a new one).",
    Kind.REGION: "",
    Kind.NAME: "Correct the URI.",
}


def storage_error(failure: StorageFailure, *, action: str, target: str, endpoint: str) -> StorageError:
    """Return the error for what went wrong when `action` was asked of `target`, both in the service's terms."""
    kind, said = failure.kind, f"{action} {target}: {failure.told_of(endpoint)}."
    if kind in PASSES:
        advice = f"{failure.advice} " if failure.advice else ""
        return Unavailable(f"{said} {advice}The operator keeps trying.")
    if kind in _MISSING:
        return Missing("BucketNotFound", f"{said} {_MISSING[kind] or failure.advice}")
    reason, advice = _REFUSALS.get(kind, _OTHERWISE)
    return Refused(reason, f"{said} {advice.format(**vars(failure.service)) or failure.advice}")
