"""Reports of running pods, pulled from their IP: pods need no access to the API server."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import aiohttp

from modelgarden.api.documents import OPERATOR, DocumentError, NewerDocument
from modelgarden.api.names import PROGRESS_PORT
from modelgarden.api.pods import EngineReport, ServeReport, TrainReport

log = logging.getLogger(__name__)

Report = TypeVar("Report", TrainReport, ServeReport, EngineReport)

_TIMEOUT: Final = aiohttp.ClientTimeout(total=3, sock_connect=1)
_LARGEST_BYTES: Final = 256 * 1024


class PodReports:
    """Reads what pods serve on the progress port."""

    def __init__(self, *, port: int = PROGRESS_PORT) -> None:
        self._port = port
        self._session: aiohttp.ClientSession | None = None

    async def of(self, pod: Mapping[str, Any], path: str, kind: type[Report]) -> Report | None:
        """Return the report at a path of the pod, or None while it cannot be had, read or believed.

        Addresses are given again: a report counts only when it is of the pod that was asked.
        """
        body = await self.fetch(pod, path)
        try:
            report = None if body is None else kind.read(body, reader=OPERATOR)
        except NewerDocument as error:
            log.warning("The report of pod %s cannot be read. %s", pod["metadata"]["name"], error)
            return None
        except DocumentError:
            return None
        return report if report is not None and report.attempt == pod["metadata"]["uid"] else None

    async def fetch(self, pod: Mapping[str, Any], path: str) -> dict[str, Any] | None:
        """Return the JSON object at a path of the pod, or None while it cannot be had."""
        address = pod.get("status", {}).get("podIP")
        if not address:
            return None
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        host = f"[{address}]" if ":" in address else address
        try:
            async with self._session.get(
                f"http://{host}:{self._port}{path}", allow_redirects=False
            ) as answer:
                log.debug("%s of pod %s: HTTP %d", path, pod["metadata"]["name"], answer.status)
                if answer.status != 200:
                    return None
                body = b""
                async for chunk in answer.content.iter_any():
                    body += chunk
                    if len(body) > _LARGEST_BYTES:
                        return None
                report = json.loads(body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError) as error:
            log.debug("%s of pod %s cannot be had: %r", path, pod["metadata"]["name"], error)
            return None
        return report if isinstance(report, dict) else None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
