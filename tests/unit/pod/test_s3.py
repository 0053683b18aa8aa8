"""What goes over the wire to S3: headers that every S3 service takes, and answers that are read."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from modelgarden.api.pods import PodStorage
from modelgarden_pod.errors import PodError, TemporaryError, UserError
from modelgarden_pod.s3 import S3Folder, open_s3_folder
from tests.unit.pod.hand_time import HandTime
from tests.unit.s3_wire import Answer, Sent, Wire

PART = 64 * 2**20
PATIENCE_SECONDS = 60.0


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def time() -> HandTime:
    return HandTime()


@pytest.fixture
def folder(wire: Wire, time: HandTime, monkeypatch: pytest.MonkeyPatch) -> S3Folder:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    storage = PodStorage(endpoint="https://s3.example.com", region="us-east-1")
    folder = open_s3_folder("s3://bucket/run", storage, time.patience(total=PATIENCE_SECONDS))
    wire.take(folder.client)
    return folder


def multipart(sent: Sent) -> Answer:
    """Answer as a service that takes parts."""
    if sent.method == "POST" and "uploads" in sent.query:
        return Answer("<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
    if sent.method == "POST":
        return Answer('<CompleteMultipartUploadResult><ETag>"1"</ETag></CompleteMultipartUploadResult>')
    return Answer()


def sparse_file(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def assert_plain(wire: Wire) -> None:
    """No trailer and no chunks of AWS's own: older S3 services refuse both."""
    for sent in wire.sent:
        assert "x-amz-trailer" not in sent.headers
        assert "aws-chunked" not in sent.headers.get("content-encoding", "")
        assert "STREAMING" not in sent.headers.get("x-amz-content-sha256", "")
        assert "x-amz-checksum-crc32" not in sent.headers


def checksum(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def test_a_written_file_carries_its_sha256_in_headers(folder: S3Folder, wire: Wire) -> None:
    entry = folder.write("report.json", b"{}")

    assert_plain(wire)
    (sent,) = wire.sent
    assert (sent.method, sent.path) == ("PUT", "/bucket/run/report.json")
    assert sent.headers["x-amz-checksum-sha256"] == checksum(b"{}")
    assert sent.headers["x-amz-meta-sha256"] == entry.sha256
    assert sent.headers["content-type"] == "application/json"


def test_an_uploaded_file_carries_its_sha256_in_headers(folder: S3Folder, wire: Wire, tmp_path: Path) -> None:
    source = tmp_path / "weights"
    source.write_bytes(b"weights")

    entry = folder.upload(source, "weights")

    assert_plain(wire)
    (sent,) = wire.sent
    assert (sent.method, sent.path) == ("PUT", "/bucket/run/weights")
    assert sent.body_bytes == 7
    assert sent.headers["x-amz-checksum-sha256"] == checksum(b"weights")
    assert sent.headers["x-amz-meta-sha256"] == entry.sha256


def test_a_large_file_goes_in_parts_with_its_sha256_in_the_metadata(
    folder: S3Folder, wire: Wire, tmp_path: Path
) -> None:
    wire.answer = multipart

    entry = folder.upload(sparse_file(tmp_path / "weights", PART + 1), "weights")

    assert_plain(wire)
    first, *parts, last = wire.sent
    assert first.headers["x-amz-meta-sha256"] == entry.sha256
    assert sorted(sent.body_bytes for sent in parts) == [1, PART]
    assert last.query == {"uploadId": ["1"]}


def test_a_failed_upload_is_repeated_from_the_beginning_of_the_file(
    folder: S3Folder, wire: Wire, tmp_path: Path
) -> None:
    source = tmp_path / "weights"
    source.write_bytes(b"weights")
    wire.answer = lambda sent: Answer(status=503 if len(wire.sent) < 4 else 200)

    folder.upload(source, "weights")

    assert len(wire.sent) == 4
    assert [sent.body_bytes for sent in wire.sent] == [7] * 4


def test_files_are_deleted_together(folder: S3Folder, wire: Wire) -> None:
    wire.answer = lambda sent: Answer("<DeleteResult/>")

    folder.delete(["a", "b"])

    (sent,) = wire.sent
    assert (sent.method, sent.query) == ("POST", {"delete": [""]})


def errors_of_delete(code: str) -> str:
    error = f"<Error><Key>run/a</Key><Code>{code}</Code><Message>so it is</Message></Error>"
    return f"<DeleteResult>{error}</DeleteResult>"


def test_a_file_that_may_not_be_deleted_is_a_refusal(folder: S3Folder, wire: Wire) -> None:
    wire.answer = lambda sent: Answer(errors_of_delete("AccessDenied"))

    with pytest.raises(UserError, match=r"s3:DeleteObject on s3://bucket/run/a \(AccessDenied\)") as raised:
        folder.delete(["a"])

    assert raised.value.reason == "AccessDenied"
    assert len(wire.sent) == 1


def test_a_file_that_cannot_be_deleted_for_now_is_tried_again(folder: S3Folder, wire: Wire) -> None:
    wire.answer = lambda sent: Answer(
        errors_of_delete("InternalError") if len(wire.sent) == 1 else "<DeleteResult/>"
    )

    folder.delete(["a"])

    assert len(wire.sent) == 2


def test_a_file_that_cannot_be_deleted_for_long_is_an_outage(
    folder: S3Folder, wire: Wire, time: HandTime
) -> None:
    wire.answer = lambda sent: Answer(errors_of_delete("InternalError"))

    with pytest.raises(TemporaryError, match="s3://bucket/run/a: InternalError: so it is"):
        folder.delete(["a"])

    assert len(wire.sent) == len(time.waits) + 1
    assert PATIENCE_SECONDS / 2 < time.now <= PATIENCE_SECONDS


def test_a_file_that_is_gone_already_is_deleted(folder: S3Folder, wire: Wire) -> None:
    wire.answer = lambda sent: Answer(errors_of_delete("NoSuchKey"))

    folder.delete(["a"])

    assert len(wire.sent) == 1


@pytest.mark.parametrize(
    ("code", "status"), [("MissingContentMD5", 400), ("InvalidRequest", 400), ("NotImplemented", 501)]
)
def test_where_files_cannot_be_deleted_together_each_is_deleted_alone(
    code: str, status: int, folder: S3Folder, wire: Wire
) -> None:
    def answer(sent: Sent) -> Answer:
        if sent.method == "POST":
            return Answer(f"<Error><Code>{code}</Code><Message>no</Message></Error>", status)
        return Answer(status=204)

    wire.answer = answer

    folder.delete(["a", "b"])

    deleted = [sent.path for sent in wire.sent if sent.method == "DELETE"]
    assert deleted == ["/bucket/run/a", "/bucket/run/b"]


def refusal(code: str) -> Answer:
    return Answer(f"<Error><Code>{code}</Code><Message>no</Message></Error>", 403)


def test_keys_that_are_refused_from_the_start_are_wrong_input(folder: S3Folder, wire: Wire) -> None:
    wire.answer = lambda sent: refusal("InvalidAccessKeyId")

    with pytest.raises(UserError) as raised:
        folder.write("report.json", b"{}")

    assert (raised.value.reason, raised.value.exit_code) == ("AccessDenied", 64)


@pytest.mark.parametrize(
    "code", ["InvalidAccessKeyId", "AccessDenied", "ExpiredToken", "SignatureDoesNotMatch"]
)
def test_keys_that_are_refused_after_they_were_taken_leave_the_rest_to_the_next_pod(
    code: str, folder: S3Folder, wire: Wire
) -> None:
    """Somebody changed the secret: this pod has the old keys, the next one gets the new."""
    folder.child("checkpoints/1").write("state", b"{}")
    wire.answer = lambda sent: refusal(code)

    with pytest.raises(PodError) as raised:
        folder.child("checkpoints/2").with_patience(1).write("state", b"{}")

    assert (raised.value.reason, raised.value.exit_code) == ("AccessDenied", 1)
    for part in ("s3:PutObject", "checkpoints/2/state", code, "changed or expired", "new pod"):
        assert part in raised.value.message


def test_an_action_that_was_never_granted_is_wrong_input_whatever_else_was(
    folder: S3Folder, wire: Wire
) -> None:
    wire.answer = lambda sent: Answer() if sent.method == "GET" else refusal("AccessDenied")
    folder.read("rows.jsonl")

    with pytest.raises(UserError) as raised:
        folder.write("report.json", b"{}")

    assert (raised.value.reason, raised.value.exit_code) == ("AccessDenied", 64)
