"""Errors of the operator, by what the worker does about them.

OperatorError
├── Retryable   try again later: conflicts, throttling, outages
│   └── Missing     the API server knows no such object or kind (HTTP 404)
├── Invalid     the API server refuses the request: quota, policy, admission, RBAC, schema
└── Lost        this process must end: the Lease or the credentials are gone
"""

from __future__ import annotations

from modelgarden.api.redaction import redacted


class OperatorError(Exception):
    """The root of the operator's errors; no value of a secret is in a message, whoever said it."""

    def __init__(self, message: str) -> None:
        self.message = redacted(message)
        super().__init__(self.message)


class Retryable(OperatorError):  # noqa: N818 -- named for what is done about it
    """Something that passes; `after` is the wait in seconds where it is known, else back-off decides."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Missing(Retryable):
    """The API server knows no such object or kind."""


class Invalid(OperatorError):  # noqa: N818
    """The API server refuses the request; `message` is its own."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Lost(OperatorError):  # noqa: N818
    """This process may no longer act."""
