"""How an object is told apart: in log lines, by its phase, by the digest of its manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def fields(obj: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of a log line about an object."""
    metadata = obj["metadata"]
    return {
        "kind": obj["kind"],
        "namespace": metadata["namespace"],
        "object": metadata["name"],
        "uid": metadata["uid"],
    }


def phase(status: Mapping[str, Any] | None) -> str | None:
    """Return the phase of a status."""
    return (status or {}).get("phase")


def digest(value: Any) -> str:
    """Return a short digest of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
