"""The run that a command works on: its configuration, its folder in storage, the workspace on this machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from modelgarden.api.documents import TRAIN_IMAGE
from modelgarden.api.pods import RunConfig
from modelgarden_pod.config import read_config
from modelgarden_pod.errors import UserError
from modelgarden_pod.folder import Folder
from modelgarden_pod.local import local_path
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import is_local, open_folder

CHECKPOINTS = "checkpoints"
"""Folder of checkpoints in a run's workspace."""


@dataclass(frozen=True)
class Run:
    """One FineTuneJob's life; attempts come and go."""

    config: RunConfig
    folder: Folder
    """Everything that outlives this process."""
    workspace: Path
    """Of this run alone: where no pod is, another run may have worked on this machine before."""
    attempt: str
    patience: Patience = field(default_factory=Patience)
    """How long an outage of storage or hub is waited for in this process."""

    @property
    def checkpoints(self) -> Path:
        """Local folder of checkpoints."""
        return self.workspace / CHECKPOINTS


def load_config(file: Path | None) -> RunConfig:
    """Read the configuration from a file, else from the environment.

    Raises:
        UserError: InvalidConfiguration, there is none or a field is wrong; UpgradeNeeded, this image is too old for it.
    """
    config = read_config(RunConfig, file, reader=TRAIN_IMAGE)
    check_config(config)
    return config


def check_config(config: RunConfig) -> None:
    """Refuse what this trainer cannot do.

    Raises:
        UserError: InvalidConfiguration.
    """
    if config.method == "QLoRA" and config.gpus == 0:
        raise UserError(
            "InvalidConfiguration", "method QLoRA needs a GPU; set resources.gpus to 1 or use LoRA"
        )
    if config.training.optimizer == "AdamW8bit" and (config.method != "Full" or config.gpus == 0):
        raise UserError(
            "InvalidConfiguration",
            "optimizer AdamW8bit is for method Full on a GPU; set training.optimizer to AdamW",
        )
    if config.method == "Full" and "Adapter" in config.formats:
        raise UserError(
            "InvalidConfiguration", "method Full makes no adapter; remove Adapter from output.formats"
        )


def run_workspace(config: RunConfig, workspace: Path) -> Path:
    """Return the run's own folder in the workspace."""
    own = workspace / config.run.uid
    own.mkdir(parents=True, exist_ok=True)
    return own


def open_run(config: RunConfig, *, workspace: Path, attempt: str, patience: Patience | None = None) -> Run:
    """Return the run with its folder in storage, and a folder of its own in the workspace."""
    patience = patience or Patience()
    if is_local(config.run_uri):
        local_path(config.run_uri).mkdir(parents=True, exist_ok=True)
    return Run(
        config=config,
        folder=open_folder(config.run_uri, config.storage, patience=patience),
        workspace=run_workspace(config, workspace),
        attempt=attempt,
        patience=patience,
    )
