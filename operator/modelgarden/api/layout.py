"""The layout in object storage. Everything is immutable but the aliases and the running emissions of an attempt.

<output.uri>/runs/<namespace>/<job>/<uid>/dataset/{train,validation,test}.parquet, report.html, report.json (written last)
                                          dataset/rewards/...  what the rewards of GRPO need
                                          checkpoints/<step>/...  with checkpoint.json, written last
                                          emissions/<attempt>.json  one EmissionsRecord per attempt
                                          tensorboard/...  event files
                                          wandb/...  offline files of Weights & Biases
                                          artifact/{adapter,merged,gguf}/...
                                          evaluation.json  emissions.jsonl  curve.json  README.md (model card)
                                          manifest.json  written last: the commit marker
             datasets/<namespace>/<identity>/dataset/{train,validation,test}.parquet, prepared.json (written last)
                                  listings/<pin>.json  what was read of sources that are listed so
             models/<namespace>/<modelName>/versions/<n>.json
                                            aliases/latest.json
             write-proof.json  of the operator, that conditions of writes are minded
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlparse

MANIFEST: Final = "manifest.json"
EVALUATION: Final = "evaluation.json"
EMISSIONS: Final = "emissions.jsonl"
CURVE: Final = "curve.json"
"""Beside the manifest, and in a checkpoint the part up to its step."""
MODEL_CARD: Final = "README.md"
ADAPTER_DIR: Final = "artifact/adapter"
MERGED_DIR: Final = "artifact/merged"
GGUF_DIR: Final = "artifact/gguf"
DATASET_TRAIN: Final = "dataset/train.parquet"
DATASET_VALIDATION: Final = "dataset/validation.parquet"
DATASET_TEST: Final = "dataset/test.parquet"
DATASET_IMAGES: Final = "dataset/images.tar"
DATASET_PAGE: Final = "dataset/report.html"
DATASET_REWARDS: Final = "dataset/rewards"
DATASET_REPORT: Final = "dataset/report.json"
SHARED_DATASET: Final = "prepared.json"
TENSORBOARD: Final = "tensorboard"
WANDB: Final = "wandb"
CHECKPOINTS: Final = "checkpoints"
CHECKPOINT_MARKER: Final = "checkpoint.json"
CHECKPOINT_VALIDATION: Final = "validation.json"
ATTEMPT_EMISSIONS: Final = "emissions"
WRITE_PROOF: Final = "write-proof.json"
"""Below an output: what the operator writes to prove that its storage minds conditions."""
LATEST: Final = "latest"

_SCHEMES: Final = ("s3://", "gs://")
"""Of URIs in object storage."""
_QUOTE = '"'
SHA256_METADATA: Final = "sha256"
"""Key of the object metadata that holds a file's SHA-256 in hex."""


@dataclass(frozen=True)
class Location:
    """A bucket and a key (or key prefix, without a trailing slash), in S3 or (gs) in GCS."""

    bucket: str
    key: str
    scheme: str = "s3"

    @classmethod
    def parse(cls, uri: str) -> Location:
        """Parse s3://bucket/key or gs://bucket/key.

        Raises:
            ValueError: the URI is of another scheme or has no bucket.
        """
        parsed = urlparse(uri)
        if not in_storage(uri) or not parsed.netloc:
            raise ValueError(f"{uri!r} is not of the form s3://bucket/key or gs://bucket/key")
        return cls(bucket=parsed.netloc, key=parsed.path.strip("/"), scheme=parsed.scheme)

    def child(self, name: str) -> Location:
        """Return the location of a name below this one."""
        return replace(self, key=f"{self.key}/{name}" if self.key else name)

    def __str__(self) -> str:
        root = f"{self.scheme}://{self.bucket}"
        return f"{root}/{self.key}" if self.key else root


def in_gcs(uri: str) -> bool:
    """Tell whether a URI is one of GCS."""
    return uri.startswith("gs://")


def in_storage(uri: str) -> bool:
    """Tell whether a URI is one of object storage, as far as its scheme tells."""
    return uri.startswith(_SCHEMES)


def run_uri(output_uri: str, *, namespace: str, job: str, uid: str) -> str:
    """Return the URI of a run: one FineTuneJob's life."""
    return f"{output_uri.rstrip('/')}/runs/{namespace}/{job}/{uid}"


def datasets_uri(output_uri: str, *, namespace: str) -> str:
    """Return the URI below which the jobs of a namespace share what they have prepared."""
    return f"{output_uri.rstrip('/')}/datasets/{namespace}"


def listing_name(pins: Iterable[str]) -> str:
    """Return where, below that URI, it lies what was read of sources with these pins."""
    digest = hashlib.sha256("".join(f"{pin}\n" for pin in pins).encode()).hexdigest()
    return f"listings/{digest}.json"


def registry_uri(output_uri: str, *, namespace: str, model_name: str) -> str:
    """Return the URI of a model's versions and aliases."""
    return f"{output_uri.rstrip('/')}/models/{namespace}/{model_name}"


def version_key(number: int) -> str:
    """Return the name of a version's record below the model's registry URI."""
    return f"versions/{number}.json"


def alias_key(alias: str) -> str:
    """Return the name of an alias below the model's registry URI."""
    return f"aliases/{alias}.json"


def listing_digest(files: Iterable[tuple[str, str, int]]) -> str:
    """Return the SHA-256 over a folder's sorted (path, ETag, bytes), its identity without a manifest.

    Quotes around an ETag and the empty objects that stand for folders make no difference.
    """
    lines = [
        f"{path}\0{etag.strip(_QUOTE)}\0{size}\n"
        for path, etag, size in sorted(files)
        if path and not path.endswith("/")
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
