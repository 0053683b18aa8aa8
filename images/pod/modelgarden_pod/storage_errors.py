"""What goes wrong with object storage, as the pods' errors. What an answer means is read by the API, for both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from modelgarden.api.storage.failures import PASSES, Kind, StorageFailure
from modelgarden_pod.errors import ObjectNotFound, PodError, TemporaryError, UserError


class Denied(UserError):  # noqa: N818 -- says what is so
    """The credentials or the action are refused."""

    def __init__(self, failure: StorageFailure, action: str, uri: str) -> None:
        self.refusal = f"{failure.service.name} refused {action} on {uri} ({failure.code})"
        super().__init__("AccessDenied", f"{self.refusal}: check the credentials and grant this action")

    def now(self) -> PodError:
        """Return a refusal of what was granted before: no wrong input, as a new pod may have other credentials."""
        return PodError(
            "AccessDenied",
            f"{self.refusal}, which it took before: the credentials were changed or expired while this pod ran; "
            "a new pod gets those that the secret holds by then",
        )


def no_bucket(bucket: str) -> UserError:
    """Return the error for a bucket that is not there."""
    return UserError("BucketNotFound", f"bucket {bucket!r} does not exist; create it, or use another")


@dataclass(frozen=True)
class Asked:
    """A request: an action, in the words of the service's permissions, on what lies at a URI."""

    action: str
    uri: str
    bucket: str
    endpoint: str


@contextmanager
def storage_errors(
    failure_of: Callable[[BaseException], StorageFailure | None], asked: Asked
) -> Iterator[None]:
    """Turn the errors of a service's libraries into a UserError or a TemporaryError."""
    try:
        yield
    except PodError:
        raise
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        raise pod_error(failure, asked) from error


def pod_error(failure: StorageFailure, asked: Asked) -> PodError:
    """Return the error for what went wrong with a request."""
    kind, said = failure.kind, f"{asked.uri}: {failure.told_of(asked.endpoint)}"
    # What is no such service may stand in for one that is away, as an ingress does: the operator has seen one there.
    if kind in PASSES or kind is Kind.STRANGER:
        return TemporaryError(_advised(said, failure))
    if kind in (Kind.NOT_FOUND, Kind.PRECONDITION):
        return ObjectNotFound(asked.uri)
    if kind is Kind.DENIED:
        return Denied(failure, asked.action, asked.uri)
    if kind is Kind.NO_BUCKET:
        return no_bucket(asked.bucket)
    if kind is Kind.NO_CREDENTIALS:
        service = failure.service
        advice = f"set {service.credentials}, or a service account with access to {service.name}"
        return UserError("AccessDenied", f"no credentials for {asked.uri}: {advice}")
    if kind is Kind.NAME:
        return UserError("BucketNotFound", f"{said}. Correct the URI.")
    reason = {Kind.REGION: "BucketNotFound", Kind.BAD_CREDENTIALS: "SecretInvalid"}.get(kind, "AccessDenied")
    return UserError(reason, _advised(f"{failure.service.name} refused {asked.action} on {said}", failure))


def _advised(said: str, failure: StorageFailure) -> str:
    return f"{said}. {failure.advice}" if failure.advice else said
