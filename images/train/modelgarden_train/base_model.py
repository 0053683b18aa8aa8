"""The base model's files: from S3, from the Hugging Face hub or from a local folder, into a local folder.

Only weights in safetensors are taken, and no code: a pickle or a model's own Python would run in the pod.
"""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from modelgarden.api.artifact import BaseModelRecord, DatasetReport, FileEntry
from modelgarden.api.layout import listing_digest
from modelgarden_pod.errors import ObjectNotFound, TemporaryError, UserError
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import (
    Folder,
    download_tree,
    file_entry,
    in_parallel,
    is_local,
    local_path,
    open_folder,
)
from modelgarden_train.model_files import (
    CONFIGURATION,
    SAME_WEIGHTS_AGAIN,
    WEIGHTS,
    check_files,
    is_wanted,
)
from modelgarden_train.run import Run

if TYPE_CHECKING:
    from httpx import Client, Request

_ROOM = "free some on the node's disk, or use a node with more: the base model's files need it"
_WRITE = "let this process read and write there"
_DISK_ADVICE: dict[int, str] = {
    errno.ENOSPC: _ROOM, errno.EDQUOT: _ROOM, errno.EFBIG: _ROOM,
    errno.EACCES: _WRITE, errno.EPERM: _WRITE, errno.EROFS: _WRITE,
}  # fmt: skip
HUB_ANSWER_SECONDS = 10.0
"""How long the hub may be silent, as HF_HUB_DOWNLOAD_TIMEOUT has it for files; its client waits for ever elsewhere."""


@dataclass(frozen=True)
class BaseModel:
    """A base model on this machine."""

    path: Path
    source: str
    revision: str | None = None
    """Commit, of a model from the hub."""
    listing: str | None = None
    """Digest over names, ETags and sizes of its files, of a model from S3."""

    def record(self) -> BaseModelRecord:
        """Return source, revision and the digest over its files."""
        names = sorted(
            path.name for path in self.path.iterdir() if path.is_file() and is_wanted(path.name, weights=True)
        )
        entries = in_parallel(partial(file_entry, self.path / name, name) for name in names)
        return BaseModelRecord(source=self.source, revision=self.revision, digest=files_digest(entries))


def fetch_base_model(
    run: Run, target: Path, *, weights: bool, prepared_with: DatasetReport | None = None
) -> BaseModel:
    """Bring the base model's files here; without weights, only what the tokenizer and the configuration need.

    With the report of prepare, the model is the one that prepare saw: a branch may have moved since, and the files
    of a folder may have been replaced.

    Raises:
        UserError: ModelNotFound, ModelInvalid or AccessDenied.
        TemporaryError: its source does not answer.
    """
    source = run.config.model_source
    seen = prepared_with.model_listing if prepared_with else None
    if source.startswith("hf://"):
        commit = prepared_with.model_revision if prepared_with else None
        path, revision = _from_hub(
            source, commit or run.config.model_revision, weights=weights, patience=run.patience
        )
        model = BaseModel(path=path, source=source, revision=revision)
    elif is_local(source):
        path = local_path(source)
        if not path.is_dir():
            raise UserError("ModelNotFound", f"the folder {path} does not exist; correct model.source")
        model = BaseModel(path=path, source=source)
    else:
        folder = open_folder(source, run.config.storage, patience=run.patience)
        listing = download_unchanged(folder, target, weights=weights, seen=seen)
        model = BaseModel(path=target, source=source, listing=listing)
    check_files(model.path, source=model.source, weights=weights)
    return model


def download_unchanged(folder: Folder, target: Path, *, weights: bool, seen: str | None) -> str:
    """Download a base model from a folder that does not change meanwhile; return the digest over its listing.

    The digest covers weights in any case, so that prepare, which leaves them where they are, pins them too.

    Raises:
        UserError: ModelNotFound, it is empty; ModelInvalid, it is not as it was seen.
    """
    names, listing = _listed(folder)
    if not names:
        raise UserError(
            "ModelNotFound",
            f"nothing lies under {folder.uri}/; upload the base model or correct model.source",
        )
    if seen is not None and listing != seen:
        raise _changed(folder, seen=seen)
    wanted = [name for name in names if is_wanted(name, weights=weights)]
    try:
        download_tree(folder, wanted, target)
    except ObjectNotFound as error:
        raise _changed(folder, seen=seen) from error
    _, after = _listed(folder)
    if after != listing:
        raise _changed(folder, seen=seen)
    return listing


def _listed(folder: Folder) -> tuple[list[str], str]:
    """Return the names of all files, and the digest over the listing of those that a model consists of."""
    files = folder.list()
    counted = (file for file in files if is_wanted(file.name, weights=True))
    digest = listing_digest((file.name, file.etag or "", file.bytes) for file in counted)
    return [file.name for file in files], digest


def _changed(folder: Folder, *, seen: str | None) -> UserError:
    if seen is None:
        return UserError(
            "ModelInvalid",
            f"the base model under {folder.uri}/ changed while it was read; keep its files as they are during a run",
        )
    return UserError(
        "ModelInvalid",
        f"the base model under {folder.uri}/ changed since the dataset was prepared; create a new FineTuneJob",
    )


def files_digest(entries: list[FileEntry]) -> str:
    """Return the SHA-256 over the sorted names and SHA-256 of files."""
    lines = "".join(sorted(f"{entry.path}\0{entry.sha256}\n" for entry in entries))
    return hashlib.sha256(lines.encode()).hexdigest()


def _from_hub(source: str, revision: str | None, *, weights: bool, patience: Patience) -> tuple[Path, str]:
    """Download a snapshot and return its folder and commit."""
    from httpx import HTTPError
    from huggingface_hub import HfApi, get_session, snapshot_download
    from huggingface_hub.errors import HFValidationError

    name = source.removeprefix("hf://")
    patterns = [*CONFIGURATION, *WEIGHTS] if weights else list(CONFIGURATION)

    def download() -> tuple[Path, str]:
        try:
            _end_silence(get_session())
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
            raise refusal or TemporaryError(f"{source}: {error}") from error

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
        for phase in ("connect", "read", "write", "pool")
    }


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
