"""Base models of the Hugging Face hub: a snapshot at one commit, and what a refusal means for the user."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlparse

from modelgarden_pod.credentials import require_sendable
from modelgarden_pod.errors import TemporaryError, UserError
from modelgarden_pod.process import described
from modelgarden_pod.retry import Patience
from modelgarden_train.models.files import CONFIGURATION, SAME_WEIGHTS_AGAIN, WEIGHTS

if TYPE_CHECKING:
    from httpx import Client, Request

_ROOM = "free some on the node's disk, or use a node with more: the base model's files need it"
_WRITE = "let this process read and write there"
_DISK_ADVICE: dict[int, str] = {
    errno.ENOSPC: _ROOM, errno.EDQUOT: _ROOM, errno.EFBIG: _ROOM,
    errno.EACCES: _WRITE, errno.EPERM: _WRITE, errno.EROFS: _WRITE,
}  # fmt: skip
HUB_ANSWER_SECONDS: Final = 10.0
"""How long the hub may be silent, as HF_HUB_DOWNLOAD_TIMEOUT has it for files; its client waits for ever elsewhere."""
HUB_CONNECT_SECONDS: Final = 4.0
"""How long a connection may take. Short, so that a pod without a network tells so within 10 s of its start."""
TOLD_SECONDS: Final = 5.0
"""After how long it is told that nothing was heard of the hub; the name's resolution has time limits of its own."""


def download_snapshot(
    source: str, revision: str | None, *, weights: bool, patience: Patience
) -> tuple[Path, str]:
    """Download a snapshot and return its folder and commit.

    Raises:
        UserError: ModelNotFound, AccessDenied, SecretInvalid, or InvalidConfiguration where the hub may not be asked.
        TemporaryError: the hub does not answer.
        OSError: the disk takes no more.
    """
    require_sendable("HF_TOKEN")
    from httpx import HTTPError
    from huggingface_hub import HfApi, get_session, snapshot_download
    from huggingface_hub.errors import HFValidationError

    name = source.removeprefix("hf://")
    host = urlparse(HfApi().endpoint).netloc
    patterns = [*CONFIGURATION, *WEIGHTS] if weights else list(CONFIGURATION)

    def download() -> tuple[Path, str]:
        try:
            _end_silence(get_session())
            with patience.outage.told_if_silent(f"{source}: {host} has not answered", after=TOLD_SECONDS):
                found = HfApi().model_info(name, revision=revision)
            commit = found.sha or "main"
            # fnmatch's * crosses folders: those hold the same weights for other engines.
            ignored = ["*/*", *SAME_WEIGHTS_AGAIN]
            path = snapshot_download(name, revision=commit, allow_patterns=patterns, ignore_patterns=ignored)
            return Path(path), commit
        except (HTTPError, HFValidationError, OSError) as error:
            if failed := disk_error(error):
                raise failed from error
            refusal = _refusal(error, source, revision)
            raise refusal or TemporaryError(
                f"{source} cannot be fetched from {host}: {_cause(error)}"
            ) from error

    return patience.retry(f"Download of {source}", download)


def disk_error(error: Exception) -> OSError | None:
    """Return an error of this machine's disk with what to do; None for the network's, which may pass by itself."""
    code = error.errno if isinstance(error, OSError) else None
    if code is None or code not in _DISK_ADVICE:
        return None
    return OSError(code, f"{os.strerror(code)}; {_DISK_ADVICE[code]}", getattr(error, "filename", None))


def _end_silence(client: Client) -> None:
    """Bound every request of the hub's client: for listings it asks for no timeout, whatever the client's own is."""
    hooks = client.event_hooks
    if _bound not in hooks["request"]:
        client.event_hooks = {**hooks, "request": [*hooks["request"], _bound]}


def _bound(request: Request) -> None:
    asked: dict[str, float | None] = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {
        phase: HUB_ANSWER_SECONDS if asked.get(phase) is None else asked[phase]
        for phase in ("read", "write", "pool")
    } | {"connect": HUB_CONNECT_SECONDS}


def _cause(error: Exception) -> str:
    """Return what the network failed with, of an error that may tell of the local cache instead."""
    from httpx import HTTPError

    beneath = error.__cause__
    return described(beneath if isinstance(beneath, HTTPError) else error)


def _refusal(error: Exception, source: str, revision: str | None) -> UserError | None:
    """Return what an error of the hub's client means for the user, None where it may pass by itself."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    match error:
        case GatedRepoError():
            return UserError(
                "AccessDenied",
                f"{source} is gated: accept its terms on the hub and set model.tokenSecretRef to a token with access",
            )
        case RevisionNotFoundError():
            return UserError(
                "ModelNotFound", f"{source} has no revision {revision!r}; correct model.revision"
            )
        case RepositoryNotFoundError():
            return UserError(
                "ModelNotFound",
                f"{source} is not on the hub, or is private; correct model.source or set model.tokenSecretRef",
            )
        case HFValidationError():
            return UserError(
                "ModelNotFound", f"{source} can be no model of the hub; correct model.source: {error}"
            )
        case OfflineModeIsEnabled():
            return UserError(
                "InvalidConfiguration", f"{source} cannot be fetched offline; unset HF_HUB_OFFLINE"
            )
        case HfHubHTTPError() if error.response.status_code in (401, 403):
            return UserError(
                "AccessDenied",
                f"the hub refuses {source} ({error.response.status_code}: {error.server_message}); "
                "correct the token in model.tokenSecretRef",
            )
    # A refusal of a file comes wrapped as one that the local cache lacks.
    return (
        _refusal(error.__cause__, source, revision) if isinstance(error.__cause__, HfHubHTTPError) else None
    )
