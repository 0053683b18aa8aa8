"""The credentials that a pod was given, in its environment: fit to be sent, or refused before any request."""

from __future__ import annotations

import os

from modelgarden.api.credentials import fault_of
from modelgarden_pod.errors import UserError


def require_sendable(*names: str) -> None:
    """Check those of the variables that are set; libraries would strip some values and print others.

    Raises:
        UserError: SecretInvalid, a value cannot be sent as it is.
    """
    for name in names:
        value = os.environ.get(name, "")
        fault = fault_of(name, value) if value else None
        if fault is not None:
            raise UserError("SecretInvalid", f"{name}, from the secret that the spec names, {fault}")
