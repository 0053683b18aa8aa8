"""Whether what a run exports will fit the disk that it is made on, told before it is trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from modelgarden.api.finetunejob import GgufQuantization
from modelgarden.api.pods import RunConfig
from modelgarden_pod.errors import PodError
from modelgarden_train.models.files import weight_files

_BITS: Final[dict[GgufQuantization, float]] = {"F16": 16, "Q8_0": 8.5, "Q5_K_M": 5.7, "Q4_K_M": 4.9}
"""Of a weight; a small model has more, as its embeddings count for more and keep more."""
_GIB: Final = 1024**3


def export_bytes(config: RunConfig, weights: int) -> int:
    """Return what the exports take at most at a time, of a base model whose files of weights have so many bytes.

    Weights of 32 bits take half of that once they are merged.
    """
    if config.method != "Full" and set(config.formats) == {"Adapter"}:
        return 0
    if "GGUF" not in config.formats:
        return weights
    bits = _BITS[config.gguf_quantization]
    whole = 0 if bits == 16 else weights  # what is quantised, until it is
    return weights + whole + int(weights * bits / 16)


def require_room(config: RunConfig, *, base: Path, target: Path) -> None:
    """Refuse a disk that the exports will not fit, before hours are spent on them.

    Raises:
        PodError: TrainingFailed; the next pod may have another disk.
        UserError: ModelInvalid, the base model's files are damaged.
    """
    needed = export_bytes(config, sum(path.stat().st_size for path in weight_files(base)))
    free = shutil.disk_usage(target).free
    if free < needed:
        raise PodError(
            "TrainingFailed",
            f"the exports {' and '.join(config.formats)} take up to {needed / _GIB:.1f} GiB of disk beside the base model, "
            f"and {free / _GIB:.1f} GiB are free on the node; free some, or create a new FineTuneJob with fewer "
            "output.formats",
        )
