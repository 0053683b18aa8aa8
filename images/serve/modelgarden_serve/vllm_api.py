"""What vLLM says of itself on its own port: alive, which models, how many tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from prometheus_client.parser import text_string_to_metric_families

from modelgarden.api.names import OPENAI_PORT
from modelgarden_serve.draining import UNDER_WAY_PATH

TIMEOUT_SECONDS = 3.0
_GENERATED = "vllm:generation_tokens_total"
_PROMPT = "vllm:prompt_tokens_total"


@dataclass(frozen=True)
class Tokens:
    """Counters since vLLM's start."""

    generated: int = 0
    prompt: int = 0


class VllmApi:
    """HTTP to vLLM on this machine; every answer may be missing while it starts, loads or ends."""

    def __init__(self, *, port: int = OPENAI_PORT, timeout: float = TIMEOUT_SECONDS) -> None:
        self._port = port
        self._timeout = timeout

    def healthy(self) -> bool:
        """Say whether vLLM is up and its engine alive."""
        return self._get("/health") is not None

    def models(self) -> tuple[str, ...] | None:
        """Return the names of the models that answer, or None while vLLM does not tell."""
        body = self._get("/v1/models")
        if body is None:
            return None
        try:
            return tuple(str(entry["id"]) for entry in json.loads(body)["data"])
        except (ValueError, KeyError, TypeError):
            return None

    def tokens(self) -> Tokens | None:
        """Return the token counters, or None while they cannot be had."""
        body = self._get("/metrics")
        return None if body is None else read_tokens(body.decode())

    def under_way(self) -> int | None:
        """Return how many requests are under way, or None while that cannot be told."""
        body = self._get(UNDER_WAY_PATH)
        try:
            return None if body is None else int(body)
        except ValueError:
            return None

    def _get(self, path: str) -> bytes | None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=self._timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
        return body if answer.status == 200 else None


def read_tokens(text: str) -> Tokens:
    """Return the counters of a Prometheus text, summed over models and engines."""
    # Of some thousand lines, mostly of histograms, only these two are parsed.
    lines = "".join(f"{line}\n" for line in text.splitlines() if line.startswith((_GENERATED, _PROMPT)))
    sums = {_GENERATED: 0.0, _PROMPT: 0.0}
    for family in text_string_to_metric_families(lines):
        for sample in family.samples:
            if sample.name in sums:
                sums[sample.name] += sample.value
    return Tokens(generated=round(sums[_GENERATED]), prompt=round(sums[_PROMPT]))
