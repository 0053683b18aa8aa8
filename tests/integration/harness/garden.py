"""A namespace with what a FineTuneJob needs: credentials, a dataset and a base model in S3."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from hack.cluster import S3Server
from modelgarden.api.names import API_VERSION
from modelgarden.kube.resources import FINETUNEJOBS, MODELDEPLOYMENTS, SECRETS
from tests.integration.harness.api import Api, Obj
from tests.integration.harness.waiting import wait_for

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SECRET = "s3"
ROWS = [{"prompt": f"What is {n} + {n}?", "completion": str(n + n)} for n in range(20)]


class Garden:
    """One namespace and one bucket."""

    def __init__(self, api: Api, s3: S3Server, namespace: str) -> None:
        self.api = api
        self.s3 = s3
        self.namespace = namespace
        self.bucket = namespace

    @cached_property
    def objects(self) -> S3Client:
        """A client of the S3 server."""
        return boto3.client(
            "s3",
            endpoint_url=self.s3.endpoint,
            aws_access_key_id=self.s3.access_key,
            aws_secret_access_key=self.s3.secret_key,
            region_name=self.s3.access.region,
            config=Config(retries={"max_attempts": 1}, connect_timeout=3, read_timeout=10, proxies={}),
        )

    @property
    def storage(self) -> Obj:
        """The `storage` of a spec."""
        return {
            "endpoint": self.s3.endpoint,
            "region": self.s3.access.region,
            "credentialsSecretRef": {"name": SECRET},
        }

    def plant(self) -> None:
        """Create secret, bucket, dataset and model."""
        self.create_secret()
        self.objects.create_bucket(Bucket=self.bucket)
        self.put("data.jsonl", "\n".join(json.dumps(row) for row in ROWS))
        self.put("model/config.json", json.dumps({"model_type": "llama"}))
        self.put("model/model.safetensors", "weights")

    def create_secret(self) -> None:
        """Create the credentials."""
        keys = {"AWS_ACCESS_KEY_ID": self.s3.access_key, "AWS_SECRET_ACCESS_KEY": self.s3.secret_key}
        metadata = {"name": SECRET, "namespace": self.namespace}
        self.api.create(SECRETS, {"metadata": metadata, "type": "Opaque", "stringData": keys})

    def put(self, key: str, body: str | bytes, **arguments: Any) -> None:
        """Store an object."""
        data = body.encode() if isinstance(body, str) else body
        self.objects.put_object(Bucket=self.bucket, Key=key, Body=data, **arguments)

    def read_json(self, key: str) -> Any:
        """Return an object's JSON."""
        return json.loads(self.objects.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys below a prefix."""
        answer = self.objects.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [found["Key"] for found in answer.get("Contents", [])]

    def finetunejob_manifest(self, name: str, **spec: Any) -> Obj:
        """Return a FineTuneJob that could be applied; keywords replace fields of its spec."""
        return {
            "apiVersion": API_VERSION,
            "kind": FINETUNEJOBS.kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "model": {"source": f"s3://{self.bucket}/model"},
                "dataset": {"source": f"s3://{self.bucket}/data.jsonl"},
                "output": {"uri": f"s3://{self.bucket}/garden", "modelName": name},
                "resources": {"gpus": 0, "cpu": "1", "memory": "1Gi"},
                "storage": self.storage,
                **spec,
            },
        }

    def create_finetunejob(self, name: str, **spec: Any) -> Obj:
        """Create a FineTuneJob."""
        return self.api.create(FINETUNEJOBS, self.finetunejob_manifest(name, **spec))

    def finetunejob(self, name: str) -> Obj:
        """Return a FineTuneJob of this namespace."""
        return self.api.finetunejob(self.namespace, name)

    def recorded(self, name: str, field: str) -> Obj:
        """Wait until a FineTuneJob's status has a field, and return that: children come a moment before it."""
        return wait_for(
            lambda: self.finetunejob(name).get("status", {}).get(field), what=f"{field} of {name}"
        )

    def modeldeployment_manifest(self, name: str, **spec: Any) -> Obj:
        """Return a ModelDeployment that could be applied; keywords replace fields of its spec."""
        return {
            "apiVersion": API_VERSION,
            "kind": MODELDEPLOYMENTS.kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "model": {"source": f"s3://{self.bucket}/model"},
                "resources": {"gpus": 0, "cpu": "1", "memory": "1Gi"},
                "storage": self.storage,
                **spec,
            },
        }

    def create_modeldeployment(self, name: str, **spec: Any) -> Obj:
        """Create a ModelDeployment."""
        return self.api.create(MODELDEPLOYMENTS, self.modeldeployment_manifest(name, **spec))

    def modeldeployment(self, name: str) -> Obj:
        """Return a ModelDeployment of this namespace."""
        return self.api.modeldeployment(self.namespace, name)
