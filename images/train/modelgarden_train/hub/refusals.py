"""What a refusal of the hub means for the user, in the words of the spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modelgarden_pod.errors import UserError


@dataclass(frozen=True)
class HubRepository:
    """A repository of the hub, and how the spec names it."""

    source: str
    """hf://org/name."""
    revision: str | None
    kind: Literal["model", "dataset"]
    missing: str
    """Reason where it is not there."""
    field: str
    """That names it."""
    prefix: str
    """Of the fields revision and tokenSecretRef."""

    @property
    def name(self) -> str:
        """Return org/name."""
        return self.source.removeprefix("hf://")


def refusal(error: Exception, repository: HubRepository) -> UserError | None:
    """Return what an error of the hub's client means for the user, None where it may pass by itself."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    source, missing, prefix = repository.source, repository.missing, repository.prefix
    match error:
        case GatedRepoError():
            return UserError(
                "AccessDenied",
                f"{source} is gated: accept its terms on the hub and set {prefix}tokenSecretRef to a token with access",
            )
        case RevisionNotFoundError():
            return UserError(
                missing, f"{source} has no revision {repository.revision!r}; correct {prefix}revision"
            )
        case RepositoryNotFoundError():
            return UserError(
                missing,
                f"{source} is not on the hub, or is private; correct {repository.field} or set {prefix}tokenSecretRef",
            )
        case HFValidationError():
            return UserError(
                missing,
                f"{source} can be no {repository.kind} of the hub; correct {repository.field}: {error}",
            )
        case OfflineModeIsEnabled():
            return UserError(
                "InvalidConfiguration", f"{source} cannot be fetched offline; unset HF_HUB_OFFLINE"
            )
        case HfHubHTTPError() if error.response.status_code in (401, 403):
            return UserError(
                "AccessDenied",
                f"the hub refuses {source} ({error.response.status_code}: {error.server_message}); "
                f"correct the token in {prefix}tokenSecretRef",
            )
    # A refusal of a file comes wrapped as one that the local cache lacks.
    return refusal(error.__cause__, repository) if isinstance(error.__cause__, HfHubHTTPError) else None
