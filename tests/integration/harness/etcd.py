"""Objects put below the API server, as the restoring of a backup puts them: with their UIDs, times and managers.

An object that is created through the API server gets a UID and a time of its own, and what others say of it no longer
fits. The API server reads JSON in etcd as well as the form that it writes itself.
"""

from __future__ import annotations

import base64
import json
import urllib.request

from modelgarden.kube.resources import SERVICES, Resource
from tests.integration.harness.api import Obj

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Etcd:
    """The store of an API server, through etcd's JSON gateway."""

    def __init__(self, url: str) -> None:
        self._url = url

    def put(self, resource: Resource, obj: Obj) -> None:
        """Store an object as it is."""
        metadata = obj["metadata"]
        key = _folder(resource, metadata["namespace"]) + metadata["name"]
        self._call("put", {"key": _encoded(key), "value": _encoded(json.dumps(obj))})

    def clear(self, resource: Resource, namespace: str) -> None:
        """Remove a namespace's objects, whatever they still wait for."""
        folder = _folder(resource, namespace)
        end = folder[:-1] + chr(ord("/") + 1)
        self._call("deleterange", {"key": _encoded(folder), "range_end": _encoded(end)})

    def _call(self, verb: str, body: Obj) -> None:
        request = urllib.request.Request(f"{self._url}/v3/kv/{verb}", data=json.dumps(body).encode())  # noqa: S310
        _opener.open(request, timeout=10).close()


def _folder(resource: Resource, namespace: str) -> str:
    plural = "services/specs" if resource == SERVICES else resource.plural
    # Kinds of CRDs lie in a folder of their group.
    group = f"{resource.group}/" if "." in resource.group else ""
    return f"/registry/{group}{plural}/{namespace}/"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
