"""The key of a service account, as Google gives it out: a JSON file, kept in a secret. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

CREDENTIALS_KEY: Final = "GOOGLE_CREDENTIALS"
"""Key of the secret with the JSON, and the variable of the pods that holds it."""

_AS_ISSUED: Final = "Write the JSON file anew, as `gcloud iam service-accounts keys create` makes it."
_NEEDED: Final = ("client_email", "private_key", "token_uri")
_GOOGLES: Final = (".googleapis.com", ".google.com")


def service_account_of(value: str, *, endpoint: str | None) -> dict[str, Any]:
    """Return a service account's key from its JSON text.

    Nothing but a key is taken: other kinds of credentials name files and programs to run. Tokens are asked for at
    Google's, or at the endpoint where one is given.

    Raises:
        ValueError: it is none; the words follow the name of what holds it, and never quote the value.
    """
    try:
        key = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON. {_AS_ISSUED}") from error
    kind = key.get("type") if isinstance(key, dict) else None
    if not isinstance(key, dict) or kind != "service_account":
        raise ValueError(
            "is no key of a service account (type service_account). Write such a key, or leave "
            "storage.gcs.credentialsSecretRef out to use workload identity."
        )
    absent = [name for name in _NEEDED if not isinstance(key.get(name), str) or not key[name]]
    if absent:
        raise ValueError(f"lacks {' and '.join(absent)}. {_AS_ISSUED}")
    if not _is_trusted(key["token_uri"], endpoint):
        raise ValueError(f"has a token_uri that is none of Google's. {_AS_ISSUED}")
    return key


def secrets_of(key: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the values of a key that must not show."""
    return (str(key["private_key"]),)


def _is_trusted(uri: str, endpoint: str | None) -> bool:
    given = urlsplit(uri)
    if endpoint is not None and (given.scheme, given.netloc) == tuple(urlsplit(endpoint)[:2]):
        return True
    return given.scheme == "https" and f".{given.hostname or ''}".endswith(_GOOGLES)
