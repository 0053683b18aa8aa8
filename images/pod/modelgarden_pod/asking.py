"""Requests to a service of object storage: repeated while it does not answer, their errors in the pods' terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from modelgarden.api.storage.failures import StorageFailure
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage_errors import Asked, Denied, storage_errors

T = TypeVar("T")


@dataclass(frozen=True)
class Asking:
    """How requests to one service are made."""

    failure_of: Callable[[BaseException], StorageFailure | None]
    endpoint: str
    patience: Patience
    granted: set[str] = field(default_factory=set, compare=False, repr=False)
    """Actions that the service has taken; what is derived from this one shares it."""

    def limited(self, seconds: float) -> Asking:
        """Return the same, whose outages are waited for as long as given."""
        return replace(self, patience=self.patience.limited(seconds))

    def ask(self, action: str, uri: str, request: Callable[[], T], *, bucket: str) -> T:
        """Return what a request for an action, in the words of the service's permissions, is answered.

        Raises:
            PodError: what `storage_errors.pod_error` makes of its failure.
        """
        asked = Asked(action, uri, bucket=bucket, endpoint=self.endpoint)

        def attempt() -> T:
            try:
                with storage_errors(self.failure_of, asked):
                    result = request()
            except Denied as error:
                if action in self.granted:
                    raise error.now() from error
                raise
            self.granted.add(action)
            return result

        return self.patience.retry(f"{action} on {uri}", attempt)
