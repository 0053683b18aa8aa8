"""The store of a resource, opened once per reconcile with the credentials that its spec names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from modelgarden.api.access import SECRET_KEYS, Storage
from modelgarden.api.conditions import Problem
from modelgarden.api.gcs.key import CREDENTIALS_KEY
from modelgarden.kube.client import Kube
from modelgarden.kube.errors import Invalid
from modelgarden.kube.resources import SECRETS
from modelgarden.registry.errors import StorageError
from modelgarden.registry.lookups import Lookups
from modelgarden.registry.store import Store
from modelgarden.registry.stores import Stores

SECRET_SECONDS: Final = 4.0
"""How long a secret is kept for the resources that share it."""


class StorageAccess:
    """Reads secrets and opens stores for the resources of both kinds."""

    def __init__(self, kube: Kube, stores: Stores) -> None:
        self._kube = kube
        self._stores = stores
        self._secrets = Lookups()

    async def open(self, namespace: str, storage: Storage) -> Store | Problem:
        """Return the store, or what is wrong with the secret.

        Raises:
            Retryable: the API server does not answer.
        """
        found: dict[str, Any] = {}
        for name, keys in storage.secrets:
            secret = await self.secret(namespace, name, keys=keys)
            if isinstance(secret, Problem):
                return secret
            found[keys[0]] = secret
        try:
            return self._stores.for_storage(storage, found.get(SECRET_KEYS[0]), found.get(CREDENTIALS_KEY))
        except StorageError as error:
            return error.problem

    async def secret(self, namespace: str, name: str, *, keys: Sequence[str]) -> dict[str, Any] | Problem:
        """Return a secret, or what is wrong with it; `keys` are those that it should have.

        Raises:
            Retryable: the API server does not answer.
        """
        try:
            found = await self._secrets.get(
                (namespace, name),
                lambda: self._kube.get(SECRETS, namespace, name),
                keep_seconds=SECRET_SECONDS,
            )
        except Invalid as error:
            return Problem("SecretInvalid", f"Secret {name!r} cannot be read: {error.message}")
        if found is None:
            return Problem(
                "SecretNotFound",
                f"Secret {name!r} does not exist in namespace {namespace!r}; create it with "
                f"{'the key' if len(keys) == 1 else 'the keys'} {' and '.join(keys)}.",
            )
        return found


class OpenStore:
    """The store of one reconcile: asked for where something decides on S3, and then opened once."""

    def __init__(self, access: StorageAccess, namespace: str, storage: Storage) -> None:
        self._access = access
        self._namespace = namespace
        self._storage = storage
        self._opened: Store | Problem | None = None

    async def get(self) -> Store | Problem:
        """Return the store, or what is wrong with the secret.

        Raises:
            Retryable: the API server does not answer.
        """
        if self._opened is None:
            self._opened = await self._access.open(self._namespace, self._storage)
        return self._opened
