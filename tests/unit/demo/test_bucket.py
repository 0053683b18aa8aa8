"""What S3 says ends as a sentence that names bucket, endpoint and the variables to check. The rest only S3 can show."""

from __future__ import annotations

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError, EndpointConnectionError

from hack.demo.bucket import told
from hack.demo.environment import S3Access
from hack.demo.errors import DemoError

ACCESS = S3Access("https://s3.example", "https://s3.example", "key", "secret", "quickstart")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadBucket"), "Forbidden"),
        (ClientError({"Error": {"Code": "BucketAlreadyExists"}}, "CreateBucket"), "BucketAlreadyExists"),
        (EndpointConnectionError(endpoint_url="https://s3.example"), "Could not connect"),
        (S3UploadFailedError("Failed to upload text-to-sql.jsonl"), "Failed to upload"),
        (ValueError("Invalid endpoint: minio:9000"), "Invalid endpoint"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_an_error_of_s3_says_what_to_check(error: Exception, words: str) -> None:
    with pytest.raises(DemoError, match=words) as caught, told(ACCESS):
        raise error
    for name in ("bucket quickstart", "https://s3.example", "S3_ENDPOINT", "S3_BUCKET", "somebody else's"):
        assert name in str(caught.value)
