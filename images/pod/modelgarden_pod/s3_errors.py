"""What goes wrong with S3, as the pods' errors. What an answer means is read by the API, for the operator too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from modelgarden.api.s3.codes import ADVICE, PASSES, Kind, S3Failure
from modelgarden.api.s3.failures import failure_of
from modelgarden_pod.errors import ObjectNotFound, PodError, TemporaryError, UserError


class Denied(UserError):  # noqa: N818 -- says what is so
    """The credentials or the action are refused."""

    def __init__(self, code: str, action: str, uri: str) -> None:
        self.refusal = f"S3 refused s3:{action} on {uri} ({code})"
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


@contextmanager
def s3_errors(action: str, uri: str, *, bucket: str, endpoint: str) -> Iterator[None]:
    """Turn the errors of S3's libraries into a UserError or a TemporaryError."""
    try:
        yield
    except PodError:
        raise
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        raise pod_error(failure, action=action, uri=uri, bucket=bucket, endpoint=endpoint) from error


def pod_error(failure: S3Failure, *, action: str, uri: str, bucket: str, endpoint: str) -> PodError:
    """Return the error for what went wrong when `action`, an IAM action of S3, was asked of the URI."""
    kind, said = failure.kind, f"{uri}: {failure.told_of(endpoint)}"
    # What is no S3 service may stand in for one that is away, as an ingress does: the operator has seen one there.
    if kind in PASSES or kind is Kind.NOT_S3:
        return TemporaryError(_advised(said, kind))
    if kind in (Kind.NOT_FOUND, Kind.PRECONDITION):
        return ObjectNotFound(uri)
    if kind is Kind.DENIED:
        return Denied(failure.code, action, uri)
    if kind is Kind.NO_BUCKET:
        return no_bucket(bucket)
    if kind is Kind.NO_CREDENTIALS:
        advice = "set storage.credentialsSecretRef, or a service account with access to S3"
        return UserError("AccessDenied", f"no credentials for {uri}: {advice}")
    if kind is Kind.NAME:
        return UserError("BucketNotFound", f"{said}. Correct the URI.")
    reason = {Kind.REGION: "BucketNotFound", Kind.BAD_CREDENTIALS: "SecretInvalid"}.get(kind, "AccessDenied")
    return UserError(reason, _advised(f"S3 refused s3:{action} on {said}", kind))


def _advised(said: str, kind: Kind) -> str:
    return f"{said}. {ADVICE[kind]}" if kind in ADVICE else said
