"""A stand-in for the trainer: it leaves in S3 and in termination messages what prepare and train leave there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from modelgarden.api.artifact import FileEntry, Manifest, RunIdentity
from modelgarden.api.layout import DATASET_REPORT, MANIFEST, MERGED_DIR, SHA256_METADATA, Location, run_uri
from modelgarden.api.pods import TerminationMessage
from tests.integration.harness.api import Obj
from tests.integration.harness.garden import Garden
from tests.unit.builders import make_dataset, make_dataset_report, make_emissions, make_manifest


@dataclass(frozen=True)
class Trainer:
    """The trainer of one FineTuneJob."""

    garden: Garden
    run: RunIdentity
    model_name: str

    @classmethod
    def of(cls, garden: Garden, job: Obj) -> Trainer:
        """Return the trainer of a FineTuneJob that exists."""
        metadata = job["metadata"]
        run = RunIdentity(namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"])
        return cls(garden, run, job["spec"]["output"]["modelName"])

    @property
    def folder(self) -> Location:
        """The run's folder."""
        root = f"s3://{self.garden.bucket}/garden"
        return Location.parse(
            run_uri(root, namespace=self.run.namespace, job=self.run.name, uid=self.run.uid)
        )

    def prepare(self) -> TerminationMessage:
        """Leave a prepared dataset."""
        self._put(DATASET_REPORT, make_dataset_report().model_dump_json(by_alias=True).encode())
        return TerminationMessage(reason="DatasetReady", message="100 rows.", dataset=make_dataset())

    def train(self, *, attempts: dict[str, int] | None = None, **manifest: Any) -> TerminationMessage:
        """Leave an artifact: its files, then the manifest; keywords are fields of it."""
        contents = {"config.json": b"{}", "model.safetensors": f"weights of {self.run.uid}".encode()}
        files = tuple(self._put(f"{MERGED_DIR}/{name}", content) for name, content in contents.items())
        fields: dict[str, Any] = {
            "run": self.run,
            "model_name": self.model_name,
            "files": files,
            "emissions": make_emissions(attempts or {"only": 7200}, reason="Completed"),
        }
        return self.leave(make_manifest(**fields | manifest))

    def leave(self, manifest: Manifest) -> TerminationMessage:
        """Leave a manifest as it is given."""
        content = manifest.model_dump_json(by_alias=True).encode()
        self._put(MANIFEST, content)
        return TerminationMessage(
            reason="Completed",
            message="Trained and uploaded.",
            manifest_sha256=hashlib.sha256(content).hexdigest(),
        )

    def _put(self, name: str, content: bytes) -> FileEntry:
        digest = hashlib.sha256(content).hexdigest()
        key = self.folder.child(name).key
        self.garden.put(key, content, Metadata={SHA256_METADATA: digest})
        return FileEntry(path=name, sha256=digest, bytes=len(content))
