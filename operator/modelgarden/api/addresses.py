"""URLs of services in specs, and that their ports are some."""

from __future__ import annotations

from urllib.parse import urlsplit

from modelgarden.api.base import Rule

_HOST_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
ENDPOINT_PATTERN = rf"^https?://{_HOST_LABEL}(\.{_HOST_LABEL})*\.?(:[0-9]{{1,5}})?/?$"
WEB_ADDRESS_PATTERN = ENDPOINT_PATTERN.removesuffix("/?$") + r"(/[A-Za-z0-9._~-]+)*/?$"
"""An endpoint that may lie below a path."""


def port_exists(field: str) -> Rule:
    """Return the CEL rule that the port of a URL is one, where it names any."""
    port = f"url(self.{field}).getPort()"
    return Rule(
        rule=f"!has(self.{field}) || {port} == '' || (int({port}) >= 1 && int({port}) <= 65535)",
        message=_no_port(field),
        field_path=f".{field}",
    )


def require_port(field: str, url: str | None) -> None:
    """Hold the rule of `port_exists`.

    Raises:
        ValueError: the URL names a port that there is not.
    """
    _, colon, port = urlsplit(url or "").netloc.partition(":")
    if colon and not 1 <= int(port) <= 65535:
        raise ValueError(_no_port(field))


def _no_port(field: str) -> str:
    return f"the port of {field} must be 1 to 65535"
