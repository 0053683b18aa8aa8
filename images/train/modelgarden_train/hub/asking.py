"""Asks the Hugging Face hub: every request has an end, an outage is waited for and told, a refusal is the user's."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlparse

from modelgarden_pod.credentials import require_sendable
from modelgarden_pod.errors import TemporaryError
from modelgarden_pod.process import described
from modelgarden_pod.retry import Patience
from modelgarden_train.hub.refusals import HubRepository, refusal

if TYPE_CHECKING:
    from httpx import Client, Request
    from huggingface_hub import HfApi

T = TypeVar("T")

_ROOM = "free some on the node's disk, or use a node with more: the files from the hub need it"
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


@dataclass(frozen=True)
class Found:
    """A repository at one commit."""

    commit: str
    names: tuple[str, ...]
    """Of all its files."""


def ask_hub(
    repository: HubRepository, action: Callable[[HfApi, Found], T], *, token: str, patience: Patience
) -> T:
    """Find a repository at its revision and do something with it, again while the hub does not answer.

    `token` names the variable with the hub's token.

    Raises:
        UserError: the repository's reason for what is missing, AccessDenied, SecretInvalid, or InvalidConfiguration
            where the hub may not be asked.
        TemporaryError: the hub does not answer.
        OSError: the disk takes no more.
    """
    require_sendable(token)
    from httpx import HTTPError
    from huggingface_hub import HfApi, get_session
    from huggingface_hub.errors import HFValidationError

    api = HfApi(token=os.environ.get(token) or None)
    host = urlparse(api.endpoint).netloc
    source = repository.source

    def attempt() -> T:
        try:
            end_silence(get_session())
            with patience.outage.told_if_silent(f"{source}: {host} has not answered", after=TOLD_SECONDS):
                info = api.repo_info(repository.name, revision=repository.revision, repo_type=repository.kind)
            names = tuple(one.rfilename for one in info.siblings or ())
            return action(api, Found(commit=info.sha or "main", names=names))
        except (HTTPError, HFValidationError, OSError) as error:
            if failed := disk_error(error):
                raise failed from error
            refused = refusal(error, repository)
            raise refused or TemporaryError(
                f"{source} cannot be fetched from {host}: {_cause(error)}"
            ) from error

    return patience.retry(f"Download of {source}", attempt)


def disk_error(error: Exception) -> OSError | None:
    """Return an error of this machine's disk with what to do; None for the network's, which may pass by itself."""
    code = error.errno if isinstance(error, OSError) else None
    if code is None or code not in _DISK_ADVICE:
        return None
    return OSError(code, f"{os.strerror(code)}; {_DISK_ADVICE[code]}", getattr(error, "filename", None))


def end_silence(client: Client, *, seconds: float = HUB_ANSWER_SECONDS) -> None:
    """Bound every request of the hub's client: for listings it asks for no timeout, whatever the client's own is."""
    hooks, bound = client.event_hooks, _bound_by(seconds)
    if bound not in hooks["request"]:
        client.event_hooks = {**hooks, "request": [*hooks["request"], bound]}


@cache
def _bound_by(seconds: float) -> Callable[[Request], None]:
    def bound(request: Request) -> None:
        asked: dict[str, float | None] = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {
            phase: seconds if asked.get(phase) is None else asked[phase]
            for phase in ("read", "write", "pool")
        } | {"connect": HUB_CONNECT_SECONDS}

    return bound


def _cause(error: Exception) -> str:
    """Return what the network failed with, of an error that may tell of the local cache instead."""
    from httpx import HTTPError

    beneath = error.__cause__
    return described(beneath if isinstance(beneath, HTTPError) else error)
