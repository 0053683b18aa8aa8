"""Which GPUs of the machine are this pod's, by NVML index, and how their energy is read.

CodeCarbon 3.3.2 finds no GPU without the nvidia-smi program and misreads UUIDs in CUDA_VISIBLE_DEVICES, in both
cases with an energy of zero: so the choice is made here and handed over as integers.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MeteredGpus:
    """The GPUs whose energy is counted."""

    indices: tuple[int, ...] = ()
    uuids: tuple[str, ...] = ()
    method: str = "none"


def metered_gpus(wanted: int) -> MeteredGpus:
    """Return the GPUs to meter; fewer than wanted where they cannot be metered, with a warning why."""
    if wanted == 0:
        return MeteredGpus()
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        logger.warning("GPU energy cannot be metered: NVML is missing", extra={"error": str(error)})
        return MeteredGpus()
    if shutil.which("nvidia-smi") is None:
        logger.warning(
            "GPU energy cannot be metered: nvidia-smi is missing; NVIDIA_DRIVER_CAPABILITIES must include utility"
        )
        return MeteredGpus()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    uuids = [_text(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    indices = visible_indices(uuids, wanted=wanted, visible=_visible())
    if len(indices) < wanted:
        logger.warning(
            "GPU energy is metered in part",
            extra={"wanted": wanted, "metered": len(indices), "visible": _visible()},
        )
    counters = all(_has_counter(pynvml, handles[index]) for index in indices)
    return MeteredGpus(
        indices=indices,
        uuids=tuple(uuids[index] for index in indices),
        method="nvml-energy-counter" if counters else "nvml-power-samples",
    )


def visible_indices(uuids: Sequence[str], *, wanted: int, visible: str | None) -> tuple[int, ...]:
    """Return the NVML indices that a CUDA_VISIBLE_DEVICES value means: indices, UUIDs or prefixes of them.

    A MIG slice has no energy counter of its own, so it is left out.
    """
    if not visible or visible == "all":
        return tuple(range(min(wanted, len(uuids))))
    found = []
    for name in (part.strip() for part in visible.split(",")):
        if name.isdigit() and int(name) < len(uuids):
            found.append(int(name))
        elif name.startswith("GPU-"):
            found += [index for index, uuid in enumerate(uuids) if uuid.startswith(name)][:1]
    return tuple(dict.fromkeys(found))[:wanted]


def _visible() -> str | None:
    """CUDA's choice, else the one that the device plugin hands to the container runtime."""
    given = os.environ.get("NVIDIA_VISIBLE_DEVICES", "")
    return os.environ.get("CUDA_VISIBLE_DEVICES") or (given if given.startswith(("GPU-", "MIG-")) else None)


def _has_counter(pynvml: Any, handle: Any) -> bool:
    try:
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        return False
    return True


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
