"""The API server as a few verbs on dicts, over one `kubernetes.aio` ApiClient.

Writes are server-side apply with one field manager. HTTP statuses become the operator's errors here and
nowhere else. The client's typed models are never touched: they cost memory and time, and dicts do.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from modelgarden.api.messages import clean
from modelgarden.api.names import FIELD_MANAGER
from modelgarden.kube.errors import Invalid, Lost, Missing, Retryable
from modelgarden.kube.resources import LEASES, Resource, resource_of

log = logging.getLogger(__name__)

APPLY_REJECTED: Final = "ApplyRejected"
PAGE_SIZE: Final = 100
"""Objects of one answer: what is held twice, as text and as dicts, while it is read."""
_BROKEN_WEBHOOK: Final = "failed calling webhook"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=10)
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

Observer = Callable[[Resource, str, int], None]
"""Told of each answer: resource, verb, HTTP status (0: no answer)."""
Fence = Callable[[], bool]
"""Answers whether this process may write."""


@dataclass(frozen=True)
class Connection:
    """How to reach the API server, for another HTTP client."""

    server: str
    ca_path: str | None
    certificate_path: str | None
    key_path: str | None
    verify: bool
    authorization: str | None
    """The header's value, such as `Bearer <token>`, read anew at each call."""


@dataclass(frozen=True)
class Page:
    """A page of a listing; every page of one listing is of the same resource version."""

    items: list[dict[str, Any]]
    resource_version: str


class Kube:
    """The API server. Every method raises Retryable, Invalid or Lost."""

    def __init__(
        self, api: ApiClient, *, observer: Observer | None = None, fence: Fence | None = None
    ) -> None:
        self._api = api
        self._observe = observer or (lambda _resource, _verb, _status: None)
        self._may_write = fence or (lambda: True)

    @classmethod
    async def connect(
        cls,
        *,
        kubeconfig: str | None = None,
        observer: Observer | None = None,
        fence: Fence | None = None,
    ) -> Kube:
        """Connect with the kubeconfig given or in KUBECONFIG, else as the service account, else ~/.kube/config.

        Raises:
            Lost: there are no credentials.
        """
        configuration = Configuration()
        try:
            kubeconfig = kubeconfig or os.environ.get("KUBECONFIG")
            if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            else:
                await config.load_kube_config(kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
        except config.ConfigException as error:
            raise Lost(f"There are no credentials for the API server: {error}") from error
        # Else each request looks for proxies and a netrc file, in a thread; kopf does not use them either.
        configuration.client_session_kwargs = {"trust_env": False}
        api = ApiClient(configuration)
        api.user_agent = FIELD_MANAGER
        return cls(api, observer=observer, fence=fence)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def connection(self) -> Connection:
        """Return how the API server is reached, with a fresh token."""
        configuration = self._api.configuration
        return Connection(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            certificate_path=configuration.cert_file,
            key_path=configuration.key_file,
            verify=configuration.verify_ssl,
            authorization=(await self._authorization()).get("authorization"),
        )

    async def _authorization(self) -> dict[str, str]:
        """Return the header with a token that the client keeps fresh; none with a client certificate."""
        found = (await self._api.configuration.auth_settings()).get("BearerToken")
        return {"authorization": found["value"]} if found else {}

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        """Return an object, or None where there is none."""
        try:
            return await self._call("GET", resource, path_of(resource, namespace, name), verb="get")
        except Missing:
            return None

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return all objects of a resource, in one namespace or in all."""
        pages = self.pages(
            resource, namespace=namespace, label_selector=label_selector, field_selector=field_selector
        )
        return [item async for page in pages for item in page.items]

    async def pages(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        metadata_only: bool = False,
        limit: int = PAGE_SIZE,
    ) -> AsyncIterator[Page]:
        """Yield the pages of a listing; with `metadata_only` the items have no spec and no status."""
        query: dict[str, str] = {"limit": str(limit)}
        if label_selector:
            query["labelSelector"] = label_selector
        if field_selector:
            query["fieldSelector"] = field_selector
        while True:
            answer = await self._call(
                "GET", resource, path_of(resource, namespace), verb="list", query=query,
                accept=_METADATA_LIST if metadata_only else None,
            )  # fmt: skip
            items = answer["items"] or []  # a list of metadata without items says null
            for item in items:
                item["apiVersion"], item["kind"] = resource.api_version, resource.kind
            yield Page(items=items, resource_version=answer["metadata"]["resourceVersion"])
            query["continue"] = answer["metadata"].get("continue", "")
            if not query["continue"]:
                return

    async def create(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object; one that exists already is a Retryable conflict."""
        resource, namespace, _ = _names(obj)
        return await self._write("POST", resource, path_of(resource, namespace), verb="create", body=obj)

    async def replace(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Replace an object that must still have the resourceVersion given, else Retryable."""
        resource, namespace, name = _names(obj)
        return await self._write(
            "PUT", resource, path_of(resource, namespace, name), verb="replace", body=obj
        )

    async def patch(self, obj: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
        """Change an object by a JSON merge patch, which replaces lists as a whole."""
        resource, namespace, name = _names(obj)
        return await self._write(
            "PATCH",
            resource,
            path_of(resource, namespace, name),
            verb="patch",
            body=patch,
            content_type=_MERGE,
        )

    async def apply(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Apply an object on the server's side, taking over fields that others own."""
        return await self._apply(obj, verb="apply")

    async def apply_status(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Apply an object's status; with metadata.resourceVersion only to that very version, else Retryable."""
        return await self._apply(obj, verb="apply_status", subresource="/status")

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        propagation: str = "Background",
    ) -> None:
        """Delete an object; one that is gone already is deleted. With `uid` only that very one, else Retryable."""
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
        }
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        path = path_of(resource, namespace, name)
        try:
            await self._write("DELETE", resource, path, verb="delete", body=body)
        except Missing:
            return

    async def _apply(self, obj: Mapping[str, Any], *, verb: str, subresource: str = "") -> dict[str, Any]:
        resource, namespace, name = _names(obj)
        return await self._write(
            "PATCH", resource, path_of(resource, namespace, name) + subresource, verb=verb, body=obj,
            query={"force": "true"}, content_type=_APPLY,
        )  # fmt: skip

    async def _write(
        self,
        method: str,
        resource: Resource,
        path: str,
        *,
        verb: str,
        body: Mapping[str, Any],
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        # The Lease itself is written by whoever does not hold it yet.
        if resource is not LEASES and not self._may_write():
            raise Lost(f"This process does not hold the Lease and may not {verb} {resource.kind}.")
        manager = {} if method == "DELETE" else {"fieldManager": FIELD_MANAGER}
        return await self._call(
            method, resource, path, verb=verb, query={**manager, **(query or {})}, body=body,
            content_type=content_type,
        )  # fmt: skip

    async def _call(
        self,
        method: str,
        resource: Resource,
        path: str,
        *,
        verb: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        accept: str | None = None,
    ) -> dict[str, Any]:
        url = f"{self._api.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {
            **self._api.default_headers,
            **await self._authorization(),
            "Accept": accept or "application/json",
            "Content-Type": content_type,
        }
        started = time.monotonic()
        try:
            response = await self._api.call_api(method, url, headers, body, _request_timeout=_TIMEOUT)
            text = await response.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._observe(resource, verb, 0)
            log.debug("%s %s: no answer in %.3f s", verb, path, time.monotonic() - started)
            raise Retryable(f"The API server does not answer: {error or type(error).__name__}") from error
        self._observe(resource, verb, response.status)
        log.debug("%s %s: HTTP %d in %.3f s", verb, path, response.status, time.monotonic() - started)
        if response.status >= 400:
            raise error_of(f"{verb} {path}", response.status, text, response.headers.get("Retry-After"))
        answer: dict[str, Any] = json.loads(text)
        return answer


def _names(obj: Mapping[str, Any]) -> tuple[Resource, str, str]:
    metadata = obj["metadata"]
    return resource_of(obj), metadata["namespace"], metadata["name"]


def path_of(resource: Resource, namespace: str | None, name: str | None = None) -> str:
    """Return the URL path of a collection or of an object; names are quoted."""
    scope = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    leaf = f"/{quote(name, safe='')}" if name else ""
    return f"{resource.root}{scope}/{resource.plural}{leaf}"


def error_of(what: str, status: int, text: bytes, retry_after: str | None) -> Retryable | Invalid | Lost:
    """Return the operator's error for an answer of the API server."""
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        message = clean(text.decode(errors="replace"), length=256) or f"HTTP {status}"
    match status:
        case 401:
            return Lost(f"The API server refuses the credentials: {what}: {message}")
        case 404:
            return Missing(f"{what}: {message}")
        case 409 | 410 | 429:
            return Retryable(f"{what}: {message}", after=_seconds(retry_after))
        case 500 if _BROKEN_WEBHOOK in message:  # somebody has to mend it, so it is told as a refusal is
            return Invalid(APPLY_REJECTED, message)
        case _ if status >= 500:
            return Retryable(f"{what}: {message}", after=_seconds(retry_after))
        case _:
            return Invalid(APPLY_REJECTED, message)


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.isdigit() else None
