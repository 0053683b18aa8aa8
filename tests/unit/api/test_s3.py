"""One table of S3's errors: operator and pods say the same of the same answer, each in its own terms."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable

import pytest
from boto3.exceptions import Boto3Error, RetriesExceededError, S3UploadFailedError
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError, create_parser
from urllib3.exceptions import IncompleteRead, NewConnectionError, ProtocolError

from modelgarden.api.conditions import REASONS
from modelgarden.api.s3.failures import failure_of
from modelgarden.api.s3.strangers import NotS3, described, listed
from modelgarden.api.storage.failures import Kind
from modelgarden.registry.errors import Missing, Refused, StorageError, Unavailable, storage_error
from modelgarden_pod.errors import ObjectNotFound, PodError, TemporaryError, UserError
from modelgarden_pod.storage_errors import Asked, Denied, pod_error

ENDPOINT = "http://s3:9000"

ALIKE: dict[Kind, tuple[type[StorageError], str, type[PodError], str]] = {
    Kind.PASSING: (Unavailable, "StorageUnavailable", TemporaryError, "StorageUnavailable"),
    Kind.CLOCK: (Unavailable, "StorageUnavailable", TemporaryError, "StorageUnavailable"),
    Kind.FULL: (Unavailable, "StorageUnavailable", TemporaryError, "StorageUnavailable"),
    Kind.NO_HOST: (Unavailable, "StorageUnavailable", TemporaryError, "StorageUnavailable"),
    Kind.UNTRUSTED: (Unavailable, "StorageUnavailable", TemporaryError, "StorageUnavailable"),
    Kind.DENIED: (Refused, "AccessDenied", Denied, "AccessDenied"),
    Kind.NO_CREDENTIALS: (Refused, "AccessDenied", UserError, "AccessDenied"),
    Kind.BAD_CREDENTIALS: (Refused, "SecretInvalid", UserError, "SecretInvalid"),
    Kind.ARCHIVED: (Refused, "AccessDenied", UserError, "AccessDenied"),
    Kind.NO_BUCKET: (Missing, "BucketNotFound", UserError, "BucketNotFound"),
    Kind.REGION: (Missing, "BucketNotFound", UserError, "BucketNotFound"),
    Kind.NAME: (Missing, "BucketNotFound", UserError, "BucketNotFound"),
    Kind.UNSUPPORTED: (Refused, "AccessDenied", UserError, "AccessDenied"),
    Kind.REFUSED: (Refused, "AccessDenied", UserError, "AccessDenied"),
    # To the operator an endpoint is wrong until somebody mends it; a pod runs because the operator saw S3 there.
    Kind.STRANGER: (Refused, "EndpointInvalid", TemporaryError, "StorageUnavailable"),
    # The callers of the operator's store get these as "not there" and "the condition did not hold".
    Kind.NOT_FOUND: (Refused, "AccessDenied", ObjectNotFound, "InvalidConfiguration"),
    Kind.PRECONDITION: (Refused, "AccessDenied", ObjectNotFound, "InvalidConfiguration"),
}


def answer(body: str, status: int, operation: str = "ListObjectsV2") -> boto.ClientError:
    """Return the error that boto3 raises for an answer."""
    parsed = create_parser("rest-xml").parse(
        {"status_code": status, "headers": {}, "body": body.encode()},
        shape=None,  # type: ignore[arg-type]  # of an error no shape is looked at
    )
    return boto.ClientError(parsed, operation)


def coded(code: str, status: int, message: str = "so it is") -> boto.ClientError:
    return answer(f"<Error><Code>{code}</Code><Message>{message}</Message></Error>", status)


def chained(error: Exception, cause: Exception) -> Exception:
    error.__context__ = cause
    return error


def operator_error(error: Exception) -> StorageError:
    failure = failure_of(error)
    assert failure is not None
    return storage_error(failure, action="LIST", target="s3://b/k", endpoint=ENDPOINT)


def error_of_pod(error: Exception) -> PodError:
    failure = failure_of(error)
    assert failure is not None
    return pod_error(failure, Asked("s3:ListBucket", "s3://b/k", bucket="b", endpoint=ENDPOINT))


def assert_alike(error: Exception, kind: Kind) -> None:
    failure = failure_of(error)
    assert failure is not None
    assert failure.kind is kind
    want_type, want_reason, want_pod_type, want_pod_reason = ALIKE[kind]
    operator, pod = operator_error(error), error_of_pod(error)
    assert (type(operator), operator.reason) == (want_type, want_reason)
    assert (type(pod), pod.reason) == (want_pod_type, want_pod_reason)
    assert operator.reason in REASONS
    assert "s3://b/k" in operator.message


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        # https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
        ("AccessDenied", 403, Kind.DENIED),
        ("AccountProblem", 403, Kind.DENIED),
        ("AllAccessDisabled", 403, Kind.DENIED),
        ("AuthorizationHeaderMalformed", 400, Kind.DENIED),
        ("Busy", 503, Kind.PASSING),
        ("ConditionalRequestConflict", 409, Kind.PRECONDITION),
        ("EntityTooLarge", 400, Kind.REFUSED),
        ("ExpiredToken", 400, Kind.DENIED),
        ("IllegalLocationConstraintException", 400, Kind.REGION),
        ("IncompleteBody", 400, Kind.PASSING),
        ("InternalError", 500, Kind.PASSING),
        ("InvalidAccessKeyId", 403, Kind.DENIED),
        ("InvalidArgument", 400, Kind.REFUSED),
        ("InvalidBucketName", 400, Kind.NO_BUCKET),
        ("InvalidObjectState", 403, Kind.ARCHIVED),
        ("InvalidPayer", 403, Kind.DENIED),
        ("InvalidRequest", 400, Kind.REFUSED),
        ("InvalidSecurity", 403, Kind.DENIED),
        ("InvalidToken", 400, Kind.DENIED),
        ("KMS.DisabledException", 400, Kind.DENIED),
        ("MethodNotAllowed", 405, Kind.REFUSED),
        ("NoSuchBucket", 404, Kind.NO_BUCKET),
        ("NoSuchKey", 404, Kind.NOT_FOUND),
        ("NoSuchUpload", 404, Kind.PASSING),
        ("NoSuchVersion", 404, Kind.NOT_FOUND),
        ("NotImplemented", 501, Kind.UNSUPPORTED),
        ("NotSignedUp", 403, Kind.DENIED),
        ("OperationAborted", 409, Kind.PASSING),
        ("PermanentRedirect", 301, Kind.REGION),
        ("PreconditionFailed", 412, Kind.PRECONDITION),
        ("RequestTimeTooSkewed", 403, Kind.CLOCK),
        ("RequestTimeout", 400, Kind.PASSING),
        ("ServiceUnavailable", 503, Kind.PASSING),
        ("SignatureDoesNotMatch", 403, Kind.DENIED),
        ("SlowDown", 503, Kind.PASSING),
        ("TemporaryRedirect", 307, Kind.PASSING),
        ("TokenRefreshRequired", 400, Kind.DENIED),
        ("UnauthorizedAccess", 403, Kind.DENIED),
        # What botocore itself counts as throttling (botocore/retries/standard.py)
        ("BandwidthLimitExceeded", 400, Kind.PASSING),
        ("RequestLimitExceeded", 400, Kind.PASSING),
        ("Throttling", 400, Kind.PASSING),
        ("ThrottlingException", 400, Kind.PASSING),
        ("TooManyRequests", 429, Kind.PASSING),
        # MinIO, cmd/api-errors.go
        ("ClientDisconnected", 499, Kind.PASSING),
        ("InvalidRegion", 400, Kind.REGION),
        ("InvalidTokenId", 403, Kind.DENIED),
        ("SlowDownRead", 503, Kind.PASSING),
        ("UnauthorizedAccess", 401, Kind.DENIED),
        ("XMinioAdminBucketQuotaExceeded", 400, Kind.FULL),
        ("XMinioBackendDown", 503, Kind.PASSING),
        ("XMinioServerNotInitialized", 503, Kind.PASSING),
        ("XMinioStorageFull", 507, Kind.FULL),
        # Ceph, src/rgw/rgw_common.cc
        ("NoSuchUser", 404, Kind.REFUSED),
        ("Not Found", 404, Kind.NOT_FOUND),
        ("QuotaExceeded", 403, Kind.FULL),
        ("RequestTimeout", 408, Kind.PASSING),
        ("UserSuspended", 403, Kind.DENIED),
        # versitygw, s3err/
        ("AccessForbidden", 403, Kind.DENIED),
        ("ExistingObjectIsDirectory", 409, Kind.REFUSED),
        # Nobody's
        ("Teapot", 418, Kind.REFUSED),
        ("Teapot", 403, Kind.DENIED),
        ("Teapot", 404, Kind.REFUSED),
        ("Teapot", 429, Kind.PASSING),
        ("Teapot", 503, Kind.PASSING),
    ],
)
def test_a_code_means_the_same_to_operator_and_pods(code: str, status: int, kind: Kind) -> None:
    assert_alike(coded(code, status), kind)
    assert code in operator_error(coded(code, status)).message


@pytest.mark.parametrize(
    ("detail", "kind"),
    [
        ("The authorization header is malformed; the region 'a' is wrong; expecting 'b'", Kind.REGION),
        ("The authorization header is malformed; the Credential is mal-formed", Kind.DENIED),
        ("The authorization header that you provided is not valid.", Kind.DENIED),
    ],
)
def test_a_malformed_header_is_of_the_region_only_where_it_says_so(detail: str, kind: Kind) -> None:
    assert_alike(coded("AuthorizationHeaderMalformed", 400, detail), kind)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, Kind.REGION), (307, Kind.PASSING), (400, Kind.REFUSED), (401, Kind.DENIED), (403, Kind.DENIED),
        (404, Kind.NOT_FOUND), (408, Kind.PASSING), (412, Kind.PRECONDITION), (429, Kind.PASSING),
        (500, Kind.PASSING), (501, Kind.UNSUPPORTED), (503, Kind.PASSING), (507, Kind.FULL),
    ],
)  # fmt: skip
def test_an_answer_to_head_goes_by_its_status(status: int, kind: Kind) -> None:
    assert_alike(answer("", status, operation="HeadObject"), kind)


HTML = "<!DOCTYPE html><html><head><title>x</title></head><body><p>Not here<br></body></html>"
XHTML = "<html><body><h1>Not here</h1></body></html>"
JSON = '{"error": "not found", "Code": "NoSuchBucket"}'


@pytest.mark.parametrize(
    "body", [HTML, XHTML, JSON, "", "not here"], ids=["HTML", "XHTML", "JSON", "empty", "text"]
)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *[(status, Kind.STRANGER) for status in (301, 302, 308, 400, 401, 403, 404, 405, 501)],
        *[(status, Kind.PASSING) for status in (408, 429, 500, 502, 503, 504)],
        *[(status, Kind.REFUSED) for status in (411, 413, 431)],
    ],
)  # fmt: skip
def test_an_answer_without_a_code_is_none_of_s3(body: str, status: int, kind: Kind) -> None:
    assert_alike(answer(body, status), kind)


def test_of_what_is_no_s3_service_the_endpoint_is_named_and_what_to_do() -> None:
    for error in (operator_error(answer(JSON, 404)), error_of_pod(answer(JSON, 404))):
        assert (
            "http://s3:9000 is no S3 service: it answers HTTP 404 without an error code of S3"
            in error.message
        )
        assert "storage.endpoint" in error.message
    assert (
        "https://" in operator_error(answer("Client sent an HTTP request to an HTTPS server.", 400)).message
    )


def closed(cause: Exception) -> Exception:
    error = boto.ConnectionClosedError(endpoint_url=ENDPOINT, error=cause)
    return chained(error, chained(ProtocolError("Connection aborted.", cause), cause))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (boto.ConnectTimeoutError(endpoint_url=ENDPOINT), Kind.PASSING),
        (boto.ReadTimeoutError(endpoint_url=ENDPOINT), Kind.PASSING),
        (boto.EndpointConnectionError(endpoint_url=ENDPOINT), Kind.PASSING),
        (boto.ProxyConnectionError(proxy_url=ENDPOINT), Kind.PASSING),
        (boto.ResponseStreamingError(error=ProtocolError("cut")), Kind.PASSING),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), Kind.PASSING),
        (boto.CredentialRetrievalError(provider="iam-role", error_msg="away"), Kind.PASSING),
        (
            chained(RetriesExceededError(Boto3Error()), boto.ReadTimeoutError(endpoint_url=ENDPOINT)),
            Kind.PASSING,
        ),
        (IncompleteRead(1, 2), Kind.PASSING),
        (ConnectionResetError("reset"), Kind.PASSING),
        (TimeoutError("slow"), Kind.PASSING),
        (closed(http.client.RemoteDisconnected("Remote end closed connection")), Kind.PASSING),
        (closed(http.client.BadStatusLine("SSH-2.0-OpenSSH_9.6")), Kind.STRANGER),
        (closed(http.client.UnknownProtocol("HTTP/9")), Kind.STRANGER),
        (
            boto.SSLError(
                endpoint_url=ENDPOINT, error=ssl.SSLError("[SSL: WRONG_VERSION_NUMBER] wrong version number")
            ),
            Kind.STRANGER,
        ),
        (
            boto.SSLError(
                endpoint_url=ENDPOINT, error=ssl.SSLError("[SSL] record layer failure (_ssl.c:1000)")
            ),
            Kind.STRANGER,
        ),
        (
            chained(
                boto.SSLError(endpoint_url=ENDPOINT, error=ssl.SSLError("x")),
                ssl.SSLError("wrong version number"),
            ),
            Kind.STRANGER,
        ),
        (
            boto.SSLError(
                endpoint_url=ENDPOINT, error=ssl.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] expired")
            ),
            Kind.UNTRUSTED,
        ),
        (
            chained(
                boto.EndpointConnectionError(endpoint_url=ENDPOINT),
                chained(NewConnectionError(None, "x"), socket.gaierror(-2, "Name or service not known")),  # type: ignore[arg-type]
            ),
            Kind.NO_HOST,
        ),
        (ResponseParserError(f"Unable to parse response, invalid XML received:\n{HTML}"), Kind.STRANGER),
        (NotS3("it answers a listing with something other than S3's"), Kind.STRANGER),
        (boto.NoCredentialsError(), Kind.NO_CREDENTIALS),
        (boto.PartialCredentialsError(provider="env", cred_var="x"), Kind.NO_CREDENTIALS),
        (
            chained(
                boto.HTTPClientError(error="x"), ValueError("Invalid header value b'AWS4 Credential=x\\n'")
            ),
            Kind.BAD_CREDENTIALS,
        ),
        (boto.ParamValidationError(report="Invalid bucket name"), Kind.NAME),
        (boto.InvalidRegionError(region_name="-"), Kind.REGION),
        (chained(S3UploadFailedError("Failed to upload"), coded("AccessDenied", 403)), Kind.DENIED),
        (chained(S3UploadFailedError("Failed to upload"), coded("SlowDown", 503)), Kind.PASSING),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_without_an_answer_means_the_same_to_operator_and_pods(error: Exception, kind: Kind) -> None:
    assert_alike(error, kind)


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), PermissionError("x"), KeyError("x"), ValueError("x")],
    ids=repr,
)
def test_an_error_of_something_else_is_not_taken_for_one_of_s3(error: Exception) -> None:
    assert failure_of(error) is None


@pytest.mark.parametrize(
    "page",
    [{"Name": "b", "KeyCount": 0}, {"IsTruncated": False}, {"MaxKeys": 1}],
)
def test_a_listing_of_any_s3_service_is_taken(page: dict[str, object]) -> None:
    assert listed(page) is page


@pytest.mark.parametrize("check", [listed, described])
@pytest.mark.parametrize("found", [{}, {"ResponseMetadata": {}}, {"EncodingType": "url", "ContentLength": 3}])
def test_other_xml_is_no_listing_and_no_object(
    check: Callable[[dict[str, object]], object], found: dict[str, object]
) -> None:
    with pytest.raises(NotS3):
        check(found)


def test_an_object_has_an_etag() -> None:
    assert described({"ETag": '"1"', "ContentLength": 0})
