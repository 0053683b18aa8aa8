"""Answers that no S3 service gives, though boto3 takes them: told without a request more than was asked for anyway."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_PAGE: Final = re.compile(
    rb"\s*(?:[^<\s\xef]|(?:<\?xml[^>]*>)?\s*(?:<!--.*?-->\s*)*<(?:!DOCTYPE\s+html|html))",
    re.IGNORECASE | re.DOTALL,
)
"""Text that is no XML, or a page for people; not the beginning of a listing that was cut off."""


class NotS3(Exception):  # noqa: N818 -- says what is so
    """An answer that no S3 service gives."""


class Redirected(Exception):  # noqa: N818
    """An answer that leads elsewhere without saying to which region."""

    def __init__(self, status: int) -> None:
        super().__init__(f"S3 answered HTTP {status}")
        self.status = status


def refuse_strangers(events: Any) -> None:
    """Have a boto3 client, whose `meta.events` are given, raise for answers that no S3 service gives.

    It would take a page of HTML for a fault of the service, and follow a redirect without an end (botocore asks HEAD
    of the bucket for its region, is redirected, and asks again).
    """
    # The wildcard's handlers run before S3's own, of which one makes a fault of what it cannot parse.
    events.register("before-parse.*.ListObjectsV2", _refuse_page)
    events.register("before-parse.s3", _refuse_redirect)


def _refuse_page(response_dict: Mapping[str, Any], **_: Any) -> None:
    body = response_dict["body"]
    if response_dict["status_code"] == 200 and body and _PAGE.match(body):
        raise NotS3("it answers a listing with something other than S3's XML")


def _refuse_redirect(response_dict: Mapping[str, Any], operation_model: Any, **_: Any) -> None:
    status, body = response_dict["status_code"], response_dict["body"]
    if status not in _REDIRECTS or "x-amz-bucket-region" in response_dict["headers"]:
        return
    if operation_model.http["method"] == "HEAD":
        raise Redirected(status)
    if not isinstance(body, bytes) or b"<Code>" not in body:
        raise NotS3(f"it answers HTTP {status} without an error code of S3")


def listed(page: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a page of a listing, which is S3's for certain.

    Raises:
        NotS3: it lacks what every S3 service says of a listing; other XML would look like an empty bucket.
    """
    if not page.keys() & {"Name", "IsTruncated", "KeyCount", "MaxKeys"}:
        raise NotS3("it answers a listing with something other than S3's")
    return page


def described(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what was said of an object, which is S3's for certain.

    Raises:
        NotS3: it lacks what every S3 service says of an object.
    """
    if not {"ETag", "ContentLength"} <= answer.keys():
        raise NotS3("it answers a request for an object without its ETag and size")
    return answer
