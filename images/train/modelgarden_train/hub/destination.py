"""The repository of a hub that an artifact is published in: whether it may be written to, and the commit that does it.

A commit is whole or not there. Doing it twice does no harm: large files that the hub has are not sent again, and a commit
that would change nothing is none.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlparse

from modelgarden.api.finetunejob import Hub, HubStatus
from modelgarden.api.names import HUB_TOKEN_KEY, OUTPUT_TOKEN_VARIABLE
from modelgarden_pod.credentials import require_sendable
from modelgarden_pod.errors import PodError, TemporaryError, UserError
from modelgarden_pod.process import described
from modelgarden_pod.retry import Patience
from modelgarden_train.hub.asking import HUB_ANSWER_SECONDS, TOLD_SECONDS, disk_error, end_silence
from modelgarden_train.hub.permission import missing_right

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger(__name__)

T = TypeVar("T")

BRANCH: Final = "main"
CHECK_PATIENCE_SECONDS: Final = 20.0
"""How long prepare waits for a hub that is only asked whether it would take the artifact."""
ANSWER_SECONDS: Final = 60.0
"""How long the hub may be silent where it puts together what it was sent."""
WEIGHTS: Final = ("*.safetensors", "*.safetensors.index.json", "*.gguf", "*.bin", "*.bin.index.json")
"""Of an earlier version they would be loaded beside the new ones: what of these, at the top, is not of this version goes."""
_REFUSED: Final = frozenset({401, 402, 403, 404})
_PASSING: Final = frozenset({408, 409, 412, 423, 425, 429})
"""Refusals that pass by themselves: too early, too often, or somebody else's commit came first."""


@dataclass(frozen=True)
class Upload:
    """One file of a commit."""

    name: str
    """Path in the repository."""
    path: Path
    sha256: str | None = None
    """Where it is known already; else it is computed."""


@dataclass(frozen=True)
class Words:
    """What a commit says."""

    title: str
    description: str


class Destination:
    """The repository that a spec names."""

    def __init__(self, hub: Hub, *, patience: Patience) -> None:
        """Take the token from the environment.

        Raises:
            UserError: SecretInvalid, it cannot be sent or is not there.
        """
        require_sendable(OUTPUT_TOKEN_VARIABLE)
        token = os.environ.get(OUTPUT_TOKEN_VARIABLE)
        self._secret = hub.token_secret_ref.name
        if not token:
            raise UserError("SecretInvalid", f"Secret {self._secret!r} lacks {HUB_TOKEN_KEY}; add the key.")
        from huggingface_hub import HfApi

        self._hub = hub
        self._api: HfApi = HfApi(endpoint=hub.endpoint.rstrip("/") if hub.endpoint else None, token=token)
        self._host = urlparse(self._api.endpoint).netloc
        self._patience = patience

    @property
    def url(self) -> str:
        """The repository's page."""
        return f"{self._api.endpoint}/{self._hub.repository}"

    def check(self) -> None:
        """Refuse a token that cannot write there; nothing is left behind. A hub that does not answer refuses nothing.

        Raises:
            UserError: AccessDenied, also for a public repository where a private one is asked for; InvalidConfiguration.
        """
        try:
            self._ask("Asking for the right to write", self._check, seconds=HUB_ANSWER_SECONDS)
        except TemporaryError as error:
            logger.warning("Whether the hub takes the artifact is not known", extra={"error": error.message})

    def commit(self, uploads: Sequence[Upload], words: Words) -> HubStatus:
        """Have the repository hold the files, and no weights of an earlier version, by one commit on main.

        Raises:
            UserError: AccessDenied, InvalidConfiguration, or PublishFailed where the hub says otherwise that it will not.
            TemporaryError: the hub does not answer.
            OSError: the disk cannot be read.
        """
        return self._ask(
            f"Publishing in {self._hub.repository}",
            lambda: self._commit(uploads, words),
            seconds=ANSWER_SECONDS,
        )

    def _check(self) -> None:
        from huggingface_hub.errors import RepositoryNotFoundError

        repository = self._hub.repository
        refused = missing_right(self._api.whoami(), repository)
        if refused is not None:
            raise self._denied(refused)
        try:
            self._require_visibility(self._api.model_info(repository))
        except RepositoryNotFoundError:
            return  # it is made when there is something to put into it
        try:
            self._api.auth_check(repository, write=True)
        except RepositoryNotFoundError:
            return  # a server that does not know the question

    def _commit(self, uploads: Sequence[Upload], words: Words) -> HubStatus:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        repository = self._hub.repository
        silent = f"{self._host} has not answered"
        with self._patience.outage.told_if_silent(silent, after=TOLD_SECONDS):
            self._api.create_repo(repository, private=self._hub.private, repo_type="model", exist_ok=True)
        info = self._api.model_info(repository, revision=BRANCH)
        self._require_visibility(info)
        there = {one.rfilename for one in info.siblings or ()}
        operations: list[Any] = [
            CommitOperationDelete(path_in_repo=name)
            for name in sorted(there - {upload.name for upload in uploads})
            if "/" not in name and any(fnmatch(name, weights) for weights in WEIGHTS)
        ]
        for upload in uploads:
            operation = CommitOperationAdd(path_in_repo=upload.name, path_or_fileobj=str(upload.path))
            if upload.sha256 is not None:
                operation.upload_info.sha256 = bytes.fromhex(upload.sha256)
            operations.append(operation)
        made = self._api.create_commit(
            repository,
            operations,
            commit_message=words.title,
            commit_description=words.description,
            revision=BRANCH,
            parent_commit=info.sha,
        )
        self._require_whole(made.oid, uploads)
        return HubStatus(url=self.url, commit=made.oid)

    def _require_whole(self, commit: str, uploads: Sequence[Upload]) -> None:
        info = self._api.model_info(self._hub.repository, revision=commit)
        there = {one.rfilename for one in info.siblings or ()}
        left_out = sorted(upload.name for upload in uploads if upload.name not in there)
        if left_out:
            raise UserError(
                "PublishFailed",
                f"commit {commit} of {self.url} lacks {left_out[0]}: a .gitignore there leaves it out; remove the line",
            )

    def _require_visibility(self, info: Any) -> None:
        if self._hub.private and info.private is False:
            raise UserError(
                "AccessDenied",
                f"{self.url} is public, and output.hub.private is true: make it private on the hub, or create a new "
                "FineTuneJob with output.hub.private: false",
            )

    def _ask(self, what: str, action: Callable[[], T], *, seconds: float) -> T:
        from httpx import HTTPError
        from huggingface_hub import get_session
        from huggingface_hub.errors import HFValidationError

        def attempt() -> T:
            try:
                end_silence(get_session(), seconds=seconds)
                return action()
            except PodError:
                raise
            except (HTTPError, HFValidationError, OSError, RuntimeError, ValueError) as error:
                if failed := disk_error(error):
                    raise failed from error
                raise self._refusal(error) or TemporaryError(
                    f"{self._host} does not take {self._hub.repository}: {described(_cause(error))}"
                ) from error

        return self._patience.retry(what, attempt)

    def _refusal(self, error: Exception) -> UserError | None:
        """Return what an error of the hub's client means for the user, None where it may pass by itself."""
        from httpx import HTTPError
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

        cause = _cause(error)
        match cause:
            case HFValidationError():
                return UserError("InvalidConfiguration", f"output.hub.repository: {cause}")
            case OfflineModeIsEnabled():
                return UserError(
                    "InvalidConfiguration", "nothing can be published offline; unset HF_HUB_OFFLINE"
                )
            case HfHubHTTPError():
                return self._refused(cause)
            case HTTPError() | OSError() | json.JSONDecodeError():
                return None
            case _:
                return UserError(
                    "PublishFailed", f"{self._host} does not take the artifact: {described(cause)}"
                )

    def _refused(self, error: Any) -> UserError | None:
        status, said = error.response.status_code, error.server_message or str(error)
        if error.response.url.host != urlparse(self._api.endpoint).hostname:
            return None  # the place of a large file, which the hub gave for a while
        if status in _REFUSED:
            mended = f"make a token that may write to {self._hub.repository} and put it into the secret"
            return self._denied(f"it answers {status}: {said}; {mended}")
        if status < 500 and status not in _PASSING:
            return UserError("PublishFailed", f"{self._host} does not take the artifact ({status}: {said})")
        return None

    def _denied(self, why: str) -> UserError:
        return UserError(
            "AccessDenied",
            f"{self._host} lets the token in secret {self._secret!r} (key {HUB_TOKEN_KEY}) not publish in "
            f"{self._hub.repository}: {why}",
        )


def _cause(error: Exception) -> Exception:
    """Return what an upload failed with, which the client wraps."""
    beneath = error.__cause__
    return beneath if type(error) is RuntimeError and isinstance(beneath, Exception) else error
