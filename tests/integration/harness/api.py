"""The API server for tests: synchronous, as the administrator, in dicts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from kubernetes import config
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration

from modelgarden.kube.resources import FINETUNEJOBS, MODELDEPLOYMENTS, Resource

NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
RESOURCE_QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")

Obj = dict[str, Any]

_IN_BACKGROUND = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}


class Refused(Exception):  # noqa: N818 -- what the API server did
    """The API server answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Api:
    """Verbs on objects."""

    def __init__(self, kubeconfig: Path) -> None:
        configuration = Configuration()
        config.load_kube_config(str(kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
        self._client = ApiClient(configuration)

    def get(self, resource: Resource, namespace: str | None, name: str) -> Obj | None:
        """Return an object, or None."""
        try:
            return self.call("GET", path_of(resource, namespace, name))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def finetunejob(self, namespace: str, name: str) -> Obj:
        """Return a FineTuneJob that must be there."""
        found = self.get(FINETUNEJOBS, namespace, name)
        assert found is not None, f"FineTuneJob {name} is not there"
        return found

    def modeldeployment(self, namespace: str, name: str) -> Obj:
        """Return a ModelDeployment that must be there."""
        found = self.get(MODELDEPLOYMENTS, namespace, name)
        assert found is not None, f"ModelDeployment {name} is not there"
        return found

    def list(self, resource: Resource, namespace: str | None = None, selector: str = "") -> list[Obj]:
        """Return the objects of a namespace, or of all."""
        query = f"?labelSelector={selector}" if selector else ""
        items: list[Obj] = self.call("GET", path_of(resource, namespace) + query)["items"]
        return [{"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in items]

    def create(self, resource: Resource, obj: Mapping[str, Any]) -> Obj:
        """Create an object."""
        return self.call("POST", path_of(resource, obj["metadata"].get("namespace")), obj)

    def apply(self, resource: Resource, obj: Mapping[str, Any], *, manager: str = "test") -> Obj:
        """Apply an object as a user would."""
        path = path_of(resource, obj["metadata"].get("namespace"), obj["metadata"]["name"])
        return self.call(
            "PATCH", f"{path}?fieldManager={manager}", obj, content_type="application/apply-patch+yaml"
        )

    def merge(
        self,
        resource: Resource,
        obj: Mapping[str, Any],
        patch: Mapping[str, Any],
        *,
        subresource: str = "",
    ) -> Obj:
        """Patch an object, or its subresource, by a JSON merge."""
        path = path_of(resource, obj["metadata"].get("namespace"), obj["metadata"]["name"])
        leaf = f"/{subresource}" if subresource else ""
        return self.call("PATCH", path + leaf, patch, content_type="application/merge-patch+json")

    def delete(self, resource: Resource, namespace: str | None, name: str) -> None:
        """Delete an object in the background; one that is gone is fine."""
        try:
            self.call("DELETE", path_of(resource, namespace, name), _IN_BACKGROUND)
        except Refused as refused:
            if refused.status != 404:
                raise

    def delete_all(self, resource: Resource, namespace: str) -> None:
        """Delete the objects of a namespace in the background."""
        self.call("DELETE", path_of(resource, namespace), _IN_BACKGROUND)

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content_type: str = "application/json",
    ) -> Obj:
        """Send a request.

        Raises:
            Refused: the answer is an error.
        """
        request = self._client.param_serialize(
            method,
            path,
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        response = self._client.call_api(*request, _request_timeout=30)
        answer = json.loads(response.read())  # type: ignore[no-untyped-call]
        if response.status >= 400:
            raise Refused(response.status, answer.get("message", ""))
        return cast(Obj, answer)


def path_of(resource: Resource, namespace: str | None, name: str = "") -> str:
    """Return the URL path of a collection or of an object."""
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{resource.root}{scope}/{resource.plural}" + (f"/{name}" if name else "")


def condition(obj: Mapping[str, Any], kind: str) -> Obj:
    """Return a condition of an object's status; empty where there is none."""
    conditions = obj.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == kind), {})


def reason(obj: Mapping[str, Any], kind: str) -> str:
    """Return the reason of a condition, empty where there is none."""
    return str(condition(obj, kind).get("reason", ""))


def phase(obj: Mapping[str, Any]) -> str:
    """Return the phase, empty before the first status."""
    return str(obj.get("status", {}).get("phase", ""))
