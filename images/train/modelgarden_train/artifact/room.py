"""Where a 16-bit merge has room: on the GPU, or in the pod's memory. From the headers of the weights; imports no library."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from modelgarden_pod.errors import UserError
from modelgarden_train.models.files import weight_files

GIB = 1024**3
GPU_MARGIN = 1.1
GPU_MARGIN_BYTES = 2 * GIB
"""What the GPU must hold beside the weights: copies of the layer that is merged, and the logits of the check."""
LARGEST_HEADER_BYTES = 100_000_000
"""The format's own limit."""
SHARD_BYTES = 4 * GIB
"""Size of a file of weights; saving holds one in memory once more."""


def bytes_in_16_bit(folder: Path) -> int:
    """Return what a model's weights take in 16 bit, read from the headers of its safetensors files.

    Raises:
        UserError: ModelInvalid, a file is damaged or missing.
    """
    return sum(_tensor_bytes(tensor) for path in weight_files(folder) for tensor in _tensors(path))


def _tensors(path: Path) -> list[dict[str, Any]]:
    """Read a header (https://huggingface.co/docs/safetensors): eight bytes of length, then JSON."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(length, LARGEST_HEADER_BYTES)))
        except ValueError as error:
            raise UserError(
                "ModelInvalid", f"{path.name} of the base model is no whole safetensors file: {error}"
            ) from error
    return [tensor for name, tensor in header.items() if name != "__metadata__"]


def _tensor_bytes(tensor: dict[str, Any]) -> int:
    if tensor["dtype"].startswith(("F", "BF")):
        return int(2 * math.prod(tensor["shape"]))
    begin, end = tensor["data_offsets"]
    return int(end - begin)


def fits_gpu(weights: int, *, gpu: int) -> bool:
    """Tell whether a GPU with so many bytes can hold 16-bit weights, merge into them and score rows."""
    return weights * GPU_MARGIN + GPU_MARGIN_BYTES <= gpu


def require_room(weights: int, *, gpu: int, memory: int | None) -> None:
    """Refuse a merge that neither the GPU nor the pod's memory limit can hold, before hours are spent on training.

    Raises:
        UserError: OutOfMemory, with what to change.
    """
    if memory is None or weights <= memory or fits_gpu(weights, gpu=gpu):
        return
    raise UserError(
        "OutOfMemory",
        f"the 16-bit merge of {weights / GIB:.1f} GiB will fit neither the GPU's {gpu / GIB:.1f} GiB nor the pod's "
        f"memory limit of {memory / GIB:.1f} GiB; {memory_advice(weights)}",
    )


def memory_advice(weights: int) -> str:
    """Return what to do where a merge of so many bytes has no room."""
    return (
        f"set resources.memory to {math.ceil((weights + 2 * SHARD_BYTES) / GIB)}Gi or more, or leave Merged16Bit out of "
        "output.formats"
    )
