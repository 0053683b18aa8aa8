"""The weights with the lowest validation loss: kept on this machine, and in every checkpoint, until they are wanted.

A checkpoint holds them itself, so that neither its pruning nor another pod takes them away. They are what is trained:
adapters, or all weights; nothing that PEFT would take for an adapter of its own.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Final

SHARD_BYTES: Final = 2 * 1024**3
"""Of a file; as much is in memory while it is written."""
_FILES: Final = "best*.safetensors"


class BestWeights:
    """A folder of them, of which each checkpoint gets links."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, trainer: Any) -> None:
        """Write the trained weights as they are now in the place of earlier ones."""
        from huggingface_hub import save_torch_state_dict

        self.forget()  # files are never written over: checkpoints link to them
        save_torch_state_dict(
            trained_weights(trainer),
            self._folder,
            filename_pattern="best{suffix}.safetensors",
            max_shard_size=SHARD_BYTES,
        )

    def forget(self) -> None:
        """Drop what is kept."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)

    def lay_beside(self, checkpoint: Path) -> None:
        """Put what is kept into a checkpoint's folder."""
        _link(self._folder, checkpoint)

    def restore(self, checkpoint: Path) -> None:
        """Keep what lies in a checkpoint's folder."""
        self.forget()
        _link(checkpoint, self._folder)

    def give(self, model: Any) -> None:
        """Give a model the weights that are kept."""
        from safetensors import safe_open

        parameters = dict(model.named_parameters())
        for file in sorted(self._folder.glob(_FILES)):
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 -- not a mapping
                    parameter = parameters[name]
                    parameter.data = tensors.get_tensor(name).to(parameter.device)


def trained_weights(trainer: Any) -> dict[str, Any]:
    """Return the trained weights by name: the masters, where there are some, which lead those of 16 bits."""
    weights = {name: one for name, one in trainer.model.named_parameters() if one.requires_grad}
    if trainer.masters is None:
        return {name: weight.data for name, weight in weights.items()}
    return {name: trainer.masters.of(weight) for name, weight in weights.items()}


def _link(source: Path, target: Path) -> None:
    for file in target.glob(_FILES):  # of an attempt that was killed at the same step
        file.unlink()
    for file in source.glob(_FILES):
        os.link(file, target / file.name)
