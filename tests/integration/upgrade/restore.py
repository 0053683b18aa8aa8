"""Puts the recorded resources back as if they had been recorded just now."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from hack.cluster import ControlPlane
from hack.cluster.control_plane import LOOPBACK
from modelgarden.kube.resources import SECRETS
from tests.integration.harness.api import Obj
from tests.integration.harness.etcd import Etcd
from tests.integration.harness.garden import SECRET, Garden
from tests.integration.upgrade import scene

_HERE = Path(__file__).parent
_BY_KIND = {resource.kind: resource for resource in scene.RECORDED}
_SECOND = re.compile(r"\b\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?=(?:\.\d+)?Z\b)")


def restore(cluster: ControlPlane, garden: Garden) -> None:
    """Put back all objects of the API server and of S3, in place of what a test before this one has left.

    The controllers sleep meanwhile: one that saw a Job before its pod would make another pod.
    """
    etcd = Etcd(f"http://{LOOPBACK}:{cluster.endpoints.etcd}")
    cluster.controller_manager.stop()
    for resource in scene.RECORDED:
        etcd.clear(resource, scene.NAMESPACE)
    for name in scene.OWNERS:
        for obj in _recorded(name, garden.s3.endpoint):
            etcd.put(_BY_KIND[obj["kind"]], obj)
    _restore_storage(garden)
    cluster.controller_manager.start()


def _restore_storage(garden: Garden) -> None:
    garden.api.delete(SECRETS, garden.namespace, SECRET)
    garden.create_secret()
    if garden.bucket in [bucket["Name"] for bucket in garden.objects.list_buckets()["Buckets"]]:
        for left in garden.keys(""):
            garden.objects.delete_object(Bucket=garden.bucket, Key=left)
    else:
        garden.objects.create_bucket(Bucket=garden.bucket)
    for key, stored in json.loads(_text("s3", garden.s3.endpoint)).items():
        garden.put(key, stored["body"], Metadata=stored["metadata"])


def _recorded(name: str, endpoint: str) -> list[Obj]:
    """Return a resource and all that belongs to it, every time in it moved as far as its recording is past."""
    text = _text(name, endpoint)
    second = timedelta(seconds=1)
    # Whole seconds, rounded down: nothing is of the future, and what is newer than another thing stays so.
    passed = (datetime.now(UTC) - datetime.fromisoformat(json.loads(text)["recordedAt"])) // second * second

    def moved(match: re.Match[str]) -> str:
        return (datetime.fromisoformat(match[0]) + passed).isoformat()

    return cast(list[Obj], json.loads(_SECOND.sub(moved, text))["objects"])


def _text(name: str, endpoint: str) -> str:
    return (_HERE / f"{name}.json").read_text().replace(scene.S3_ENDPOINT, endpoint)
