"""The demo's bucket, and what S3 says against it as a sentence for the reader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from hack.demo.environment import Environment, S3Access
from hack.demo.errors import DemoError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Bucket:
    """The demo's bucket, as this machine reaches it. Every method raises DemoError where S3 refuses."""

    client: S3Client
    access: S3Access

    @property
    def name(self) -> str:
        """Its name."""
        return self.access.bucket

    def text(self, key: str) -> str | None:
        """Return an object as text, or None where there is none."""
        with told(self.access):
            try:
                body: str = self.client.get_object(Bucket=self.name, Key=key)["Body"].read().decode()
            except ClientError as error:
                if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                    return None
                raise
        return body

    def put(self, key: str, text: str) -> None:
        """Write a text as an object."""
        with told(self.access):
            self.client.put_object(Bucket=self.name, Key=key, Body=text.encode())

    def upload(self, path: Path) -> None:
        """Upload a file under its name."""
        with told(self.access):
            self.client.upload_file(str(path), self.name, path.name)

    def evaluation(self, key: str) -> list[dict[str, str]]:
        """Return the rows of a run's evaluation.json; raises DemoError where there is none."""
        body = self.text(key)
        if body is None:
            raise DemoError(f"s3://{self.name}/{key} is missing")
        rows: list[dict[str, str]] = json.loads(body)["rows"]
        return rows


def open_bucket(environment: Environment) -> Bucket:
    """Return the demo's bucket, made where it is not there.

    Raises:
        DemoError: S3 does not answer, or the bucket is not for these keys.
    """
    access = environment.s3
    with told(access):
        client: S3Client = boto3.client(
            "s3",
            endpoint_url=access.endpoint,
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}),
        )
        try:
            # First, since keys that may use a bucket often may not make one.
            client.head_bucket(Bucket=access.bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("NoSuchBucket", "404"):
                raise
            with suppress(client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket=access.bucket)
    return Bucket(client, access)


@contextmanager
def told(access: S3Access) -> Iterator[None]:
    """Turn what S3 or its client says into a DemoError that names bucket and endpoint."""
    try:
        yield
    except (ClientError, BotoCoreError, Boto3Error, ValueError) as error:  # ValueError: not an endpoint
        raise DemoError(
            f"the bucket {access.bucket} at {access.endpoint} cannot be used: {error}. With CLUSTER=current check"
            " S3_ENDPOINT, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name another bucket in S3_BUCKET, since"
            " this one may be somebody else's; `python3 hack/cluster status` shows the local S3 server"
        ) from error
