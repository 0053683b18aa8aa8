"""The volumes of the prepare pod with sources of the dataset: claims and ConfigMaps, for reading. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from modelgarden.api.names import MOUNTED_SCHEMES, MOUNTED_SOURCES


def mounted_sources(uris: Iterable[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return volumes and mounts for the sources of these URIs, one for each claim and each ConfigMap."""
    parts = (uri.partition("://") for uri in uris)
    wanted = dict.fromkeys(
        (kind, rest.partition("/")[0]) for kind, _, rest in parts if kind in MOUNTED_SCHEMES
    )
    volumes, mounts = [], []
    for number, (kind, name) in enumerate(wanted):
        volume = f"source-{number}"
        volumes.append({"name": volume, **_volume(kind, name)})
        mounts.append({"name": volume, "mountPath": f"{MOUNTED_SOURCES}/{kind}/{name}", "readOnly": True})
    return volumes, mounts


def _volume(kind: str, name: str) -> dict[str, Any]:
    if kind == "pvc":
        return {"persistentVolumeClaim": {"claimName": name, "readOnly": True}}
    # Optional: the pod itself says what a ConfigMap that is not there means, and how it is mended.
    return {"configMap": {"name": name, "optional": True}}
