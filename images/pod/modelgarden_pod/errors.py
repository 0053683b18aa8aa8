"""How a pod can end early. The exit code tells the Job what to do, the reason tells the user.

PodError (exit 1, counted by backoffLimit)
+-- UserError (exit 64, never retried): the input is wrong; the message says what to do
|   +-- ObjectNotFound: a key or file is missing; callers turn it into their own reason
|   +-- CorruptObject: a file does not have the SHA-256 that its manifest or marker names
+-- TemporaryError (exit 75, retried and not counted): storage or network does not answer for now

Terminated (exit 143, retried and not counted): SIGTERM. No PodError and no Exception, as libraries swallow those.
"""

from __future__ import annotations

from typing import ClassVar

from modelgarden.api import names
from modelgarden.api.redaction import redacted


class PodError(Exception):
    """An end with a reason of `modelgarden.api.conditions.REASONS`; no value of a secret is in its message."""

    exit_code: ClassVar[int] = 1

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        self.message = redacted(message)
        super().__init__(f"{reason}: {self.message}")


class UserError(PodError):
    """The user's input is wrong."""

    exit_code = names.EXIT_USER_ERROR


class ObjectNotFound(UserError):  # noqa: N818 -- says what is so
    """A key or a file is not there."""

    def __init__(self, uri: str) -> None:
        super().__init__("InvalidConfiguration", f"{uri} does not exist")
        self.uri = uri


class CorruptObject(UserError):  # noqa: N818
    """A file is not the one that was recorded."""

    def __init__(self, name: str, *, found: str, wanted: str) -> None:
        super().__init__("ArtifactInvalid", f"{name} has SHA-256 {found}, recorded is {wanted}")


class TemporaryError(PodError):
    """Storage or network does not answer for now."""

    exit_code = names.EXIT_TEMPORARY

    def __init__(self, message: str) -> None:
        super().__init__("StorageUnavailable", message)


class Terminated(BaseException):
    """The pod was told to stop."""

    exit_code: ClassVar[int] = names.EXIT_TERMINATED
    reason: ClassVar[str] = "Retrying"

    def __init__(self, message: str) -> None:
        self.message = redacted(message)
        super().__init__(self.message)
