"""The secrets that the pods are given, looked at before a Job is started with them."""

from __future__ import annotations

from collections.abc import Iterable

from modelgarden.api.conditions import Problem
from modelgarden.api.names import HUB_TOKEN_KEY
from modelgarden.finetune.look import Look
from modelgarden.registry.errors import StorageError
from modelgarden.registry.secrets import required_value

_HUB_TOKEN_KEYS = (HUB_TOKEN_KEY,)


def hub_token(name: str) -> tuple[str, tuple[str, ...]]:
    """Return a secret with a token of a hub, as `secret_versions` takes it."""
    return name, _HUB_TOKEN_KEYS


async def secret_versions(
    look: Look, secrets: Iterable[tuple[str, tuple[str, ...]]]
) -> tuple[str, ...] | Problem:
    """Return the versions of secrets, each given by its name and keys, or what is wrong with the first that is not right.

    A hub's token is looked at too: what cannot be sent is told before a pod has tried.
    """
    versions = []
    for name, keys in secrets:
        secret = await look.means.storage.secret(look.subject.namespace, name, keys=keys)
        if isinstance(secret, Problem):
            return secret
        try:
            if keys == _HUB_TOKEN_KEYS:
                required_value(secret, HUB_TOKEN_KEY)
        except StorageError as error:
            return error.problem
        versions.append(str(secret["metadata"]["resourceVersion"]))
    return tuple(versions)
