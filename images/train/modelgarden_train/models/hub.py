"""Base models of the Hugging Face hub: a snapshot at one commit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelgarden_pod.retry import Patience
from modelgarden_train.hub.asking import Found, ask_hub
from modelgarden_train.hub.refusals import HubRepository
from modelgarden_train.models.files import CONFIGURATION, SAME_WEIGHTS_AGAIN, WEIGHTS

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def download_snapshot(
    source: str, revision: str | None, *, weights: bool, patience: Patience
) -> tuple[Path, str]:
    """Download a snapshot and return its folder and commit.

    Raises:
        UserError: ModelNotFound, AccessDenied, SecretInvalid, or InvalidConfiguration where the hub may not be asked.
        TemporaryError: the hub does not answer.
        OSError: the disk takes no more.
    """
    repository = model_repository(source, revision)

    def download(api: HfApi, found: Found) -> tuple[Path, str]:
        # fnmatch's * crosses folders: those hold the same weights for other engines.
        path = api.snapshot_download(
            repository.name,
            revision=found.commit,
            allow_patterns=[*CONFIGURATION, *WEIGHTS] if weights else list(CONFIGURATION),
            ignore_patterns=["*/*", *SAME_WEIGHTS_AGAIN],
        )
        return Path(path), found.commit

    return ask_hub(repository, download, token="HF_TOKEN", patience=patience)  # noqa: S106 -- a variable's name


def model_repository(source: str, revision: str | None) -> HubRepository:
    """Return the repository of a base model."""
    return HubRepository(
        source, revision, kind="model", missing="ModelNotFound", field="model.source", prefix="model."
    )
