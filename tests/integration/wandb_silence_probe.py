"""Asks a server of Weights & Biases that does not answer to take a run, twice; prints what each time ends with.

Runs in the trainer's environment: `python wandb_silence_probe.py URL`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from modelgarden.api.artifact import RunIdentity
from modelgarden.api.finetunejob import WANDB_KEY, WeightsAndBiases
from modelgarden_pod.errors import TemporaryError
from modelgarden_pod.local import LocalFolder
from modelgarden_train.trackers import wandb
from modelgarden_train.trackers.wandb import WandbRun


def told(run: WandbRun) -> str:
    """Return what is said of a server that is asked for the run."""
    try:
        run.keep()
    except TemporaryError as error:
        return error.message
    return "taken"


if __name__ == "__main__":
    wandb._BEGIN_SECONDS = 2.0
    os.environ[WANDB_KEY] = "7" * 40
    url, folder = sys.argv[1], Path(tempfile.mkdtemp())
    asked = WeightsAndBiases.from_dict({"project": "numbers", "secretRef": {"name": "wandb"}, "baseUrl": url})
    identity = RunIdentity(namespace="default", name="run", uid="run-1")
    run = WandbRun(asked, identity, local=folder / "wandb", folder=LocalFolder(folder))
    run.start({}, from_step=0)
    print(json.dumps({"told": [told(run), told(run)]}))
