"""What went wrong with a request to S3, from the error that a library raised."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from modelgarden.api.messages import clean
from modelgarden.api.s3.codes import Kind, S3Failure, answered
from modelgarden.api.s3.strangers import NotS3, Redirected

_LIBRARIES: Final = frozenset({"boto3", "botocore", "s3transfer", "urllib3"})
_NO_CREDENTIALS: Final = frozenset({"NoCredentialsError", "PartialCredentialsError"})
_BAD_REGION: Final = frozenset({"InvalidRegionError", "UnknownRegionError"})
_NO_TLS: Final = re.compile(
    r"wrong.version.number|record layer failure|packet length too long", re.IGNORECASE
)
_NOT_TRUSTED: Final = "CERTIFICATE_VERIFY_FAILED"
_DETAIL_BYTES: Final = 300


def failure_of(error: BaseException) -> S3Failure | None:
    """Read an error that was raised by a request to S3; None where it is of something else, such as the local disk."""
    answer = getattr(error, "response", None)
    if isinstance(answer, Mapping) and "Error" in answer:
        return _answered(answer, bodiless=str(getattr(error, "operation_name", "")).startswith("Head"))
    causes = tuple(_causes(error))
    for cause in causes[1:]:
        if isinstance(getattr(cause, "response", None), Mapping) and _is_of_a_library(error):
            return failure_of(cause)
    if isinstance(error, NotS3):
        return S3Failure(Kind.NOT_S3, "NotS3", str(error))
    if isinstance(error, Redirected):
        return answered(str(error.status), error.status, bodiless=True)
    if not _is_of_a_library(error) and not isinstance(error, ConnectionError | TimeoutError):
        return None
    return _unanswered(error, causes)


def _answered(answer: Mapping[str, Any], *, bodiless: bool) -> S3Failure:
    error = answer.get("Error", {})
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    detail = clean(str(error.get("Message") or ""), length=_DETAIL_BYTES)
    return answered(str(error.get("Code") or status), status, detail=detail, bodiless=bodiless)


def _unanswered(error: BaseException, causes: tuple[BaseException, ...]) -> S3Failure:
    name, said = type(error).__name__, clean(str(error), length=_DETAIL_BYTES).rstrip(".")
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _NO_CREDENTIALS:
        return S3Failure(Kind.NO_CREDENTIALS, name, "no S3 credentials")
    if names & _BAD_REGION:
        return S3Failure(Kind.REGION, name, said)
    if "ParamValidationError" in names:
        return S3Failure(Kind.NAME, name, said)
    if "ResponseParserError" in names:
        return S3Failure(Kind.NOT_S3, name, "it answers with something other than S3's XML")
    return _unspoken(name, causes) or S3Failure(Kind.PASSING, name, f"S3 does not answer ({said})")


def _unspoken(name: str, causes: tuple[BaseException, ...]) -> S3Failure | None:
    """Return why no request came to be, from what the network's libraries raised; None where nobody knows."""
    for cause in causes:
        said = clean(str(getattr(cause, "strerror", None) or cause), length=_DETAIL_BYTES).rstrip(".")
        if _speaks_no_http(cause):
            return S3Failure(Kind.NOT_S3, name, "it does not speak HTTP")
        if _NO_TLS.search(str(cause)):
            return S3Failure(Kind.NOT_S3, name, "it does not speak TLS, as a service behind https:// does")
        if isinstance(cause, socket.gaierror):
            return S3Failure(Kind.NO_HOST, name, said)
        if _NOT_TRUSTED in str(cause):
            return S3Failure(Kind.UNTRUSTED, name, _distrust(causes) or said)
        if isinstance(cause, ValueError) and "header value" in str(cause):
            return S3Failure(Kind.BAD_CREDENTIALS, name, "the credentials hold what no HTTP header can")
    return None


def _speaks_no_http(error: BaseException) -> bool:
    strange = (http.client.BadStatusLine, http.client.UnknownProtocol, http.client.LineTooLong)
    # One that closes the connection without a word may be an S3 service that is just ending.
    return isinstance(error, strange) and not isinstance(error, http.client.RemoteDisconnected)


def _distrust(causes: Iterable[BaseException]) -> str | None:
    """Return why a certificate is not trusted, in OpenSSL's words."""
    found = (getattr(cause, "verify_message", None) for cause in causes)
    return next((clean(why, length=_DETAIL_BYTES).rstrip(".") for why in found if why), None)


def _is_of_a_library(error: BaseException) -> bool:
    return any(kind.__module__.partition(".")[0] in _LIBRARIES for kind in type(error).__mro__)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
