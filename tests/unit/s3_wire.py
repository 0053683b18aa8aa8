"""S3 without a network: a client whose requests are taken before they are sent, and answered as a test wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass
class Sent:
    """One request as it would have gone out."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body_bytes: int


@dataclass
class Answer:
    """What the service says."""

    body: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"ETag": '"1"'})


class Raw:
    """The body of an answer, as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *args: Any, **options: Any) -> Any:
        yield self._body

    def read(self, *args: Any, **options: Any) -> bytes:
        body, self._body = self._body, b""
        return body

    def close(self) -> None:
        """There is no connection."""


@dataclass
class Wire:
    """Takes every request in the network's place and answers as the test wants."""

    answer: Callable[[Sent], Answer] = lambda sent: Answer()
    sent: list[Sent] = field(default_factory=list)

    def __call__(self, request: AWSPreparedRequest, **kwargs: Any) -> AWSResponse:
        url = urlsplit(request.url)
        headers = {
            name.lower(): value.decode() if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
        }
        sent = Sent(
            method=str(request.method),
            path=unquote(url.path),
            query=parse_qs(url.query, keep_blank_values=True),
            headers=headers,
            body_bytes=_sent_bytes(request.body),
        )
        self.sent.append(sent)
        answer = self.answer(sent)
        said = HTTPHeaders.from_dict({"Content-Length": str(len(answer.body.encode())), **answer.headers})
        # As on the wire: an answer to HEAD has no body.
        body = b"" if sent.method == "HEAD" else answer.body.encode()
        return AWSResponse(request.url, answer.status, said, Raw(body))

    def take(self, client: S3Client) -> None:
        """Take the place of the client's network."""
        # A handler that returns an answer takes the network's place; the stubs know of no such handler.
        client.meta.events.register("before-send.s3", self)  # type: ignore[arg-type]


def _sent_bytes(body: Any) -> int:
    """Read a body to its end, as the network would."""
    content = body.read() if hasattr(body, "read") else body
    return len(content or b"")


def error(code: str, status: int, message: str = "so it is") -> Answer:
    """Answer as S3 does where something is wrong."""
    return Answer(f"<Error><Code>{code}</Code><Message>{message}</Message></Error>", status)
