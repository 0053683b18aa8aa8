"""GCS's errors mean to operator and pods what S3's do, and a key of a service account is one and nothing else."""

from __future__ import annotations

import json
import ssl
from typing import Any

import pytest
import requests
from google.api_core.exceptions import from_http_response, from_http_status
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

from modelgarden.api.gcs.failures import failure_of
from modelgarden.api.gcs.key import service_account_of
from modelgarden.api.storage.failures import Kind
from modelgarden.registry.errors import storage_error
from modelgarden_pod.storage_errors import Asked, pod_error
from tests.unit.api.test_s3 import ALIKE

ENDPOINT = "http://gcs:9000"
OBJECT = f"{ENDPOINT}/storage/v1/b/bucket/o/key"
CONTENT = f"{ENDPOINT}/download/storage/v1/b/bucket/o/key?alt=media"
UPLOAD = f"{ENDPOINT}/upload/storage/v1/b/bucket/o?uploadType=multipart"
SESSION = f"{ENDPOINT}/upload/storage/v1/b/bucket/o?uploadType=resumable&upload_id=1"
LISTING = f"{ENDPOINT}/storage/v1/b/bucket/o?prefix=run"


def response(status: int, body: str, url: str = OBJECT) -> requests.Response:
    answer = requests.Response()
    answer.status_code = status
    answer._content = body.encode()
    answer.url = url
    answer.request = requests.Request("GET", url).prepare()
    return answer


def said(reason: str, message: str = "so it is") -> str:
    return json.dumps({"error": {"code": 1, "message": message, "errors": [{"reason": reason}]}})


def answer(status: int, body: str, url: str = OBJECT) -> Exception:
    """Return the error that the client raises for an answer."""
    error: Exception = from_http_response(response(status, body, url))
    return error


def assert_alike(error: Exception, kind: Kind) -> None:
    failure = failure_of(error)
    assert failure is not None
    assert failure.kind is kind
    operators, reason, of_pod, reason_of_pod = ALIKE[kind]
    told = storage_error(failure, action="GET", target="gs://b/k", endpoint=ENDPOINT)
    assert (type(told), told.reason) == (operators, reason)
    ended = pod_error(failure, Asked("storage.objects.get", "gs://b/k", bucket="b", endpoint=ENDPOINT))
    assert (type(ended), ended.reason) == (of_pod, reason_of_pod)
    assert "S3" not in told.message + ended.message


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "invalid", Kind.REFUSED),
        (400, "userProjectMissing", Kind.DENIED),
        (401, "authError", Kind.DENIED),
        (403, "forbidden", Kind.DENIED),
        (403, "accountDisabled", Kind.REFUSED),
        (403, "rateLimitExceeded", Kind.PASSING),
        (403, "retentionPolicyNotMet", Kind.REFUSED),
        (404, "notFound", Kind.NOT_FOUND),
        (409, "conflict", Kind.PASSING),
        (412, "conditionNotMet", Kind.PRECONDITION),
        (429, "rateLimitExceeded", Kind.PASSING),
        (500, "internalError", Kind.PASSING),
        (501, "notImplemented", Kind.UNSUPPORTED),
        (503, "backendError", Kind.PASSING),
        (418, "teapot", Kind.REFUSED),
    ],
)
def test_an_answer_means_what_its_reason_says(status: int, reason: str, kind: Kind) -> None:
    assert_alike(answer(status, said(reason)), kind)


@pytest.mark.parametrize("url", [LISTING, UPLOAD])
def test_of_a_listing_and_of_a_write_only_the_bucket_can_be_missing(url: str) -> None:
    assert_alike(answer(404, said("notFound"), url), Kind.NO_BUCKET)


def test_an_upload_whose_session_is_gone_begins_anew() -> None:
    assert_alike(answer(404, said("notFound"), SESSION), Kind.PASSING)
    assert_alike(answer(410, "", SESSION), Kind.PASSING)


def test_a_name_that_no_bucket_can_have_is_told() -> None:
    assert_alike(answer(400, said("invalid", "Invalid bucket name: 'a..b'")), Kind.NAME)


def test_content_is_refused_in_bare_text() -> None:
    """The client raises such an error from the status alone, with the answer beside it."""
    bare = response(404, "No such object: bucket/key", CONTENT)
    assert_alike(from_http_status(404, "GET: No such object", response=bare), Kind.NOT_FOUND)
    assert_alike(from_http_status(403, "GET: no", response=response(403, "no", CONTENT)), Kind.DENIED)


@pytest.mark.parametrize("status", [301, 400, 403, 404, 405, 501])
def test_what_answers_without_a_reason_is_no_gcs_service(status: int) -> None:
    assert_alike(answer(status, "<html>Welcome to nginx!</html>"), Kind.STRANGER)


def test_a_page_in_the_place_of_json_is_no_gcs_service() -> None:
    with pytest.raises(requests.exceptions.JSONDecodeError) as page:
        response(200, "<html></html>").json()
    assert_alike(page.value, Kind.STRANGER)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (requests.exceptions.ConnectionError("refused"), Kind.PASSING),
        (requests.exceptions.ReadTimeout("read timed out"), Kind.PASSING),
        (TransportError("the metadata server is silent"), Kind.PASSING),
        (DefaultCredentialsError("Your default credentials were not found."), Kind.NO_CREDENTIALS),
        (RefreshError("invalid_grant: no", {"error": "invalid_grant"}), Kind.DENIED),
        (RefreshError("busy", retryable=True), Kind.PASSING),
        (
            requests.exceptions.SSLError(ssl.SSLCertVerificationError(1, "CERTIFICATE_VERIFY_FAILED")),
            Kind.UNTRUSTED,
        ),
    ],
    ids=lambda value: value if isinstance(value, Kind) else type(value).__name__,
)
def test_what_comes_to_no_answer_is_told_apart(error: Exception, kind: Kind) -> None:
    assert_alike(error, kind)


def test_what_the_token_endpoint_answers_is_not_told() -> None:
    failure = failure_of(RefreshError("No access token in response.", "<html>of an inner service</html>"))

    assert failure is not None
    assert "inner service" not in failure.said + failure.code


def test_an_error_of_something_else_is_none_of_gcss() -> None:
    assert failure_of(OSError(28, "No space left on device")) is None
    assert failure_of(KeyError("x")) is None


KEY = {
    "type": "service_account",
    "client_email": "trainer@project.iam.gserviceaccount.com",
    "private_key": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
    "token_uri": "https://oauth2.googleapis.com/token",
}


def test_a_key_is_read_whatever_white_space_is_around_it() -> None:
    assert service_account_of(f"{json.dumps(KEY, indent=2)}\n", endpoint=None) == KEY


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("AKIAEXAMPLE", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "is no key of a service account"),
        (KEY | {"type": "external_account"}, "is no key of a service account"),
        (KEY | {"type": "authorized_user"}, "use workload identity"),
        ({name: value for name, value in KEY.items() if name != "private_key"}, "lacks private_key"),
        (KEY | {"client_email": 5}, "lacks client_email"),
        (KEY | {"token_uri": "http://oauth2.googleapis.com/token"}, "none of Google's"),
        (KEY | {"token_uri": "https://inner.example.com/token"}, "none of Google's"),
        (KEY | {"token_uri": "https://oauth2.googleapis.com.example.com/token"}, "none of Google's"),
        (KEY | {"token_uri": "https://x@inner.example.com#.googleapis.com"}, "none of Google's"),
    ],
)
def test_what_is_no_key_of_a_service_account_is_refused(value: Any, words: str) -> None:
    text = value if isinstance(value, str) else json.dumps(value)

    with pytest.raises(ValueError, match=words) as refused:
        service_account_of(text, endpoint="http://127.0.0.1:4443")

    assert "c2VjcmV0" not in str(refused.value)
    assert "AKIA" not in str(refused.value)


def test_the_server_that_a_spec_names_may_give_its_own_tokens() -> None:
    own = KEY | {"token_uri": "http://127.0.0.1:4443/token"}

    assert service_account_of(json.dumps(own), endpoint="http://127.0.0.1:4443/") == own
    with pytest.raises(ValueError, match="none of Google's"):
        service_account_of(json.dumps(own), endpoint=None)
