"""What S3 answers becomes a reason and an advice."""

from __future__ import annotations

import pytest

from modelgarden.api.conditions import REASONS
from modelgarden.api.s3.codes import answered
from modelgarden.registry.errors import Missing, Refused, Unavailable, storage_error


@pytest.mark.parametrize(
    ("code", "status", "want_type", "want_reason"),
    [
        pytest.param("AccessDenied", 403, Refused, "AccessDenied", id="permissions"),
        pytest.param("403", 403, Refused, "AccessDenied", id="a HEAD answer has no code but its status"),
        pytest.param("InvalidAccessKeyId", 403, Refused, "AccessDenied", id="a wrong key"),
        pytest.param("ExpiredToken", 400, Refused, "AccessDenied", id="an old token"),
        pytest.param("NoSuchBucket", 404, Missing, "BucketNotFound", id="no bucket"),
        pytest.param("PermanentRedirect", 301, Missing, "BucketNotFound", id="a bucket of another region"),
        pytest.param("SlowDown", 503, Unavailable, "StorageUnavailable", id="throttled"),
        pytest.param("InternalError", 500, Unavailable, "StorageUnavailable", id="a fault of the service"),
        pytest.param("502", 502, Unavailable, "StorageUnavailable", id="a fault of a proxy"),
        pytest.param(
            "NotImplemented", 501, Refused, "AccessDenied", id="a service without conditional writes"
        ),
        pytest.param("RequestTimeout", 400, Unavailable, "StorageUnavailable", id="a slow network"),
        pytest.param("Teapot", 418, Refused, "AccessDenied", id="something unheard of"),
    ],
)
def test_an_error_answer_has_a_reason(code: str, status: int, want_type: type, want_reason: str) -> None:
    failure = answered(code, status, bodiless=True)
    error = storage_error(failure, action="HEAD", target="s3://b/k", endpoint="http://s3:9000")

    assert type(error) is want_type
    assert error.reason == want_reason
    assert error.reason in REASONS
    assert "HEAD s3://b/k" in error.message
