"""A bare HTTP client of the API server, for the tests of the CRDs: thousands of requests, every status code seen."""

from __future__ import annotations

import base64
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp

from modelgarden.api.kinds import Kind
from modelgarden.api.names import API_VERSION


@dataclass(frozen=True)
class Answer:
    """What the API server said."""

    status: int
    body: dict[str, Any]

    @property
    def accepted(self) -> bool:
        """Return whether it took the object.

        Raises:
            AssertionError: it neither took nor refused it.
        """
        assert self.status in (200, 201, 400, 422), f"the API server answered {self.status}: {self.body}"
        return self.status < 400

    @property
    def message(self) -> str:
        """Return the reason for a refusal."""
        return str(self.body.get("message", ""))


class RawApi:
    """The resources of one namespace, as the administrator sees them."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.url: str = cluster["server"]
        self.namespace = namespace
        self._token: str = config["users"][0]["user"]["token"]
        self._tls = ssl.create_default_context(cadata=authority)

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=32)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        self._session = aiohttp.ClientSession(connector=connector, headers=headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def create(self, kind: Kind, spec: str, *, name: str = "case", dry_run: bool = True) -> Answer:
        """Create a resource from its spec's JSON text, with unknown fields refused."""
        text = f'{{"apiVersion":"{API_VERSION}","kind":"{kind.name}","metadata":{{"name":"{name}"}},"spec":{spec}}}'
        return await self._send("POST", self._path(kind), text, dry_run=dry_run)

    async def replace(self, kind: Kind, resource: dict[str, Any], *, subresource: str = "") -> Answer:
        """Replace a resource or its status, as a dry run."""
        path = f"{self._path(kind)}/{resource['metadata']['name']}{subresource}"
        return await self._send("PUT", path, json.dumps(resource), dry_run=True)

    def _path(self, kind: Kind) -> str:
        return f"/apis/{API_VERSION}/namespaces/{self.namespace}/{kind.plural}"

    async def _send(self, method: str, path: str, text: str, *, dry_run: bool) -> Answer:
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        async with self._session.request(method, self.url + path + query, data=text.encode()) as response:
            return Answer(response.status, await response.json())
