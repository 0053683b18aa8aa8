"""The base model's files: from S3, from the Hugging Face hub or from a local folder, into a local folder.

Only weights in safetensors are taken, and no code: a pickle or a model's own Python would run in the pod.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from modelgarden.api.artifact import DatasetReport, FileEntry
from modelgarden.api.finetunejob import BaseModelRecord
from modelgarden.api.layout import listing_digest
from modelgarden.api.pods import RunConfig
from modelgarden_pod.errors import ObjectNotFound, UserError
from modelgarden_pod.folder import Folder, file_entry
from modelgarden_pod.local import local_path
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import download_tree, in_parallel, is_local, open_folder
from modelgarden_train.models.files import check_files, is_wanted
from modelgarden_train.models.hub import download_snapshot
from modelgarden_train.models.rope import with_more_positions


@dataclass(frozen=True)
class BaseModel:
    """A base model on this machine."""

    path: Path
    """What is loaded."""
    source: str
    revision: str | None = None
    """Commit, of a model from the hub."""
    listing: str | None = None
    """Digest over names, ETags and sizes of its files, of a model from S3."""
    origin: Path | None = None
    """The files as the source has them, where others are loaded."""

    def record(self) -> BaseModelRecord:
        """Return source, revision and the digest over its files."""
        digest = self._digest(weights=True)
        return BaseModelRecord(source=self.source, revision=self.revision, digest=digest)

    def configuration_digest(self) -> str:
        """Return the digest over the files that configuration and tokenizer consist of."""
        return self._digest(weights=False)

    def _digest(self, *, weights: bool) -> str:
        folder = self.origin or self.path
        files = (path.name for path in folder.iterdir() if path.is_file())
        names = sorted(name for name in files if is_wanted(name, weights=weights))
        return files_digest(in_parallel(partial(file_entry, folder / name, name) for name in names))


def fetch_base_model(
    config: RunConfig,
    target: Path,
    *,
    weights: bool,
    patience: Patience,
    prepared_with: DatasetReport | None = None,
) -> BaseModel:
    """Bring the base model's files here; without weights, only what the tokenizer and the configuration need.

    With the report of prepare, the model is the one that prepare saw: a branch may have moved since, and the files
    of a folder may have been replaced.

    Raises:
        UserError: ModelNotFound, ModelInvalid or AccessDenied.
        TemporaryError: its source does not answer.
    """
    source = config.model_source
    seen = prepared_with.model_listing if prepared_with else None
    if source.startswith("hf://"):
        commit = prepared_with.model_revision if prepared_with else None
        path, revision = download_snapshot(
            source, commit or config.model_revision, weights=weights, patience=patience
        )
        model = BaseModel(path=path, source=source, revision=revision)
    elif is_local(source):
        path = local_path(source)
        if not path.is_dir():
            raise UserError("ModelNotFound", f"the folder {path} does not exist; correct model.source")
        model = BaseModel(path=path, source=source)
    else:
        folder = open_folder(source, config.storage, patience=patience)
        listing = download_unchanged(folder, target, weights=weights, seen=seen)
        model = BaseModel(path=target, source=source, listing=listing)
    check_files(model.path, source=model.source, weights=weights)
    return _with_positions(model, config, target)


def _with_positions(model: BaseModel, config: RunConfig, target: Path) -> BaseModel:
    """Return the model with the positions that the spec asks for."""
    scaling = config.training.rope_scaling
    if scaling is None:
        return model
    beside = target.with_name(f"{target.name}-scaled")
    scaled = with_more_positions(model.path, beside, scaling, source=model.source)
    return replace(model, path=scaled, origin=model.path)


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
