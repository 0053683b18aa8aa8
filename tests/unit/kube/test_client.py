"""HTTP statuses as the operator's errors, and URL paths."""

from __future__ import annotations

import json

import pytest

from modelgarden.kube.client import error_of, path_of
from modelgarden.kube.errors import Invalid, Lost, Missing, Retryable
from modelgarden.kube.resources import FINETUNEJOBS, PODS

STATUS = json.dumps({"kind": "Status", "message": "the reason"}).encode()


@pytest.mark.parametrize(
    ("status", "want"),
    [
        (400, Invalid),
        (401, Lost),
        (403, Invalid),
        (404, Missing),
        (409, Retryable),
        (410, Retryable),
        (422, Invalid),
        (429, Retryable),
        (500, Retryable),
        (503, Retryable),
    ],
)
def test_a_status_becomes_the_error_that_says_what_to_do(status: int, want: type[Exception]) -> None:
    error = error_of("apply job", status, STATUS, None)
    assert type(error) is want
    assert "the reason" in str(error)


def test_a_webhook_that_does_not_work_is_told_as_a_refusal() -> None:
    said = 'Internal error occurred: failed calling webhook "policy.example.com": connection refused'
    error = error_of("apply job", 500, json.dumps({"message": said}).encode(), None)

    assert isinstance(error, Invalid)
    assert (error.reason, error.message) == ("ApplyRejected", said)


@pytest.mark.parametrize(("header", "want"), [("7", 7.0), (None, None), ("soon", None)])
def test_retry_after_is_kept(header: str | None, want: float | None) -> None:
    error = error_of("list", 429, STATUS, header)
    assert isinstance(error, Retryable)
    assert error.after == want


@pytest.mark.parametrize("body", [b"", b"<html>bad gateway</html>", b"[]", b'{"no": "message"}'])
def test_an_answer_that_is_no_status_object_is_still_an_error(body: bytes) -> None:
    assert isinstance(error_of("list", 502, body, None), Retryable)


@pytest.mark.parametrize(
    ("path", "want"),
    [
        (path_of(PODS, None), "/api/v1/pods"),
        (path_of(PODS, "team"), "/api/v1/namespaces/team/pods"),
        (path_of(PODS, "team", "a"), "/api/v1/namespaces/team/pods/a"),
        (path_of(FINETUNEJOBS, None), "/apis/modelgarden.dev/v1alpha1/finetunejobs"),
        (path_of(PODS, "team", "../secrets"), "/api/v1/namespaces/team/pods/..%2Fsecrets"),
    ],
)
def test_paths(path: str, want: str) -> None:
    assert path == want
