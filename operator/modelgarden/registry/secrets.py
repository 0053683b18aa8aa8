"""Values of Secret objects: decoded, found fit to be sent, and kept out of every message from then on."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelgarden.api.common import OPTIONAL_SECRET_KEYS, SECRET_KEYS
from modelgarden.api.credentials import fault_of
from modelgarden.api.redaction import keep_secret
from modelgarden.registry.errors import Refused


@dataclass(frozen=True)
class Credentials:
    """What requests to S3 are signed with."""

    access_key: str
    secret_key: str
    session_token: str | None


def credentials_of(secret: Mapping[str, Any]) -> Credentials:
    """Return the credentials that a Secret object holds.

    Raises:
        Refused: it lacks a key, or a key is empty or has a value that cannot be sent (SecretInvalid).
    """
    values = {key: value_of(secret, key) for key in (*SECRET_KEYS, *OPTIONAL_SECRET_KEYS)}
    absent = [key for key in SECRET_KEYS if not values[key]]
    if absent:
        raise _lacks(secret, absent)
    return Credentials(
        access_key=values["AWS_ACCESS_KEY_ID"],
        secret_key=values["AWS_SECRET_ACCESS_KEY"],
        session_token=values["AWS_SESSION_TOKEN"] or None,
    )


def required_value(secret: Mapping[str, Any], key: str) -> str:
    """Return a value of a Secret object.

    Raises:
        Refused: the secret lacks the key, or its value cannot be sent (SecretInvalid).
    """
    value = value_of(secret, key)
    if not value:
        raise _lacks(secret, [key])
    return value


def value_of(secret: Mapping[str, Any], key: str) -> str:
    """Return a value of a Secret object, "" where it has none or nothing but white space.

    Raises:
        Refused: the value is not text, or cannot be sent (SecretInvalid).
    """
    name = secret.get("metadata", {}).get("name", "")
    try:
        value = base64.b64decode((secret.get("data") or {}).get(key) or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Refused("SecretInvalid", f"Key {key} of secret {name!r} is not text.") from error
    if not value.strip():
        return ""
    keep_secret(value)
    fault = fault_of(key, value)
    if fault is not None:
        raise Refused("SecretInvalid", f"Key {key} of secret {name!r} {fault}")
    return value


def _lacks(secret: Mapping[str, Any], keys: list[str]) -> Refused:
    """Return what is to be said of keys that are missing, else of those that are empty."""
    name = secret.get("metadata", {}).get("name", "")
    missing = [key for key in keys if (secret.get("data") or {}).get(key) is None]
    listed = " and ".join(missing or keys)
    if missing:
        what = "the key" if len(missing) == 1 else "the keys"
        return Refused("SecretInvalid", f"Secret {name!r} lacks {listed}; add {what}.")
    verb = "is" if len(keys) == 1 else "are"
    return Refused("SecretInvalid", f"{listed} of secret {name!r} {verb} empty; write a value.")
