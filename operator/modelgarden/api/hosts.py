"""Hosts that datasets may come from, as the operator's settings list them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

HOST_PATTERN: Final = r"^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$"
"""A host (data.example.org), or all below a domain (*.example.org)."""


def is_allowed(host: str, allowed: Iterable[str]) -> bool:
    """Tell whether a host is one of those that are allowed; `*.example.org` is any host below example.org, not itself."""
    name = host.lower().removesuffix(".")
    return any(
        name.endswith(one[1:]) and name != one[2:] if one.startswith("*.") else name == one for one in allowed
    )
