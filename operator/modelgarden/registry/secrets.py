"""Values of Secret objects: decoded, found fit to be sent, and kept out of every message from then on."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelgarden.api.access import OPTIONAL_SECRET_KEYS, SECRET_KEYS
from modelgarden.api.credentials import fault_of
from modelgarden.api.gcs.key import CREDENTIALS_KEY, secrets_of, service_account_of
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


def service_account_in(secret: Mapping[str, Any], *, endpoint: str | None) -> dict[str, Any]:
    """Return the key of a service account of GCS that a Secret object holds.

    Raises:
        Refused: the secret lacks it, or it is none (SecretInvalid).
    """
    value = _text_of(secret, CREDENTIALS_KEY)
    if not value:
        raise _lacks(secret, [CREDENTIALS_KEY])
    try:
        key = service_account_of(value, endpoint=endpoint)
    except ValueError as error:
        raise Refused(
            "SecretInvalid", f"Key {CREDENTIALS_KEY} of secret {_name_of(secret)!r} {error}"
        ) from None
    for one in secrets_of(key):
        keep_secret(one)
    return key


def value_of(secret: Mapping[str, Any], key: str) -> str:
    """Return a value of a Secret object, "" where it has none or nothing but white space.

    Raises:
        Refused: the value is not text, or cannot be sent (SecretInvalid).
    """
    value = _text_of(secret, key)
    fault = fault_of(key, value) if value else None
    if fault is not None:
        raise Refused("SecretInvalid", f"Key {key} of secret {_name_of(secret)!r} {fault}")
    return value


def _text_of(secret: Mapping[str, Any], key: str) -> str:
    try:
        value = base64.b64decode((secret.get("data") or {}).get(key) or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Refused("SecretInvalid", f"Key {key} of secret {_name_of(secret)!r} is not text.") from error
    if not value.strip():
        return ""
    keep_secret(value)
    return value


def _name_of(secret: Mapping[str, Any]) -> str:
    name: str = secret.get("metadata", {}).get("name", "")
    return name


def _lacks(secret: Mapping[str, Any], keys: list[str]) -> Refused:
    """Return what is to be said of keys that are missing, else of those that are empty."""
    name = _name_of(secret)
    missing = [key for key in keys if (secret.get("data") or {}).get(key) is None]
    listed = " and ".join(missing or keys)
    if missing:
        what = "the key" if len(missing) == 1 else "the keys"
        return Refused("SecretInvalid", f"Secret {name!r} lacks {listed}; add {what}.")
    verb = "is" if len(keys) == 1 else "are"
    return Refused("SecretInvalid", f"{listed} of secret {name!r} {verb} empty; write a value.")
