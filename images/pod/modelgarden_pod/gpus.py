"""Which GPUs of the machine are this pod's, by NVML index, and how their energy is read.

CodeCarbon 3.3.2 finds no GPU without the nvidia-smi program, misreads UUIDs in CUDA_VISIBLE_DEVICES and goes on where
a GPU gives no figures, always with an energy of zero: so the choice is made here and handed over as integers, and what
the GPUs give is looked at for as long as they are metered.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

logger = logging.getLogger(__name__)

COUNTER: Final = "nvml-energy-counter"
POWER: Final = "nvml-power-samples"
NONE: Final = "none"
_BEST_FIRST: Final = (COUNTER, POWER, NONE)


@dataclass(frozen=True)
class MeteredGpus:
    """The GPUs whose energy is counted."""

    indices: tuple[int, ...] = ()
    uuids: tuple[str, ...] = ()
    method: str = NONE


@dataclass(frozen=True)
class GpuLoad:
    """How loaded GPUs are at a moment."""

    memory_mib: float
    """In use on all of them together, by whatever process."""
    percent: float
    """Mean share of the driver's last sample period (at most 1 s) in which a kernel ran."""


class GpuWatch:
    """What the metered GPUs give as the run goes on."""

    def __init__(self, gpus: MeteredGpus) -> None:
        self._gpus = gpus
        self._missed = False
        self.method = gpus.method
        """How the energy so far was read."""
        self.complete = True
        """Whether nothing is missing from the energy so far."""
        self.load: GpuLoad | None = None
        """At the newest look; None where NVML does not tell."""

    def look(self) -> None:
        """Look at the GPUs after a measurement. A counter that is back makes up for what was missed, power does not."""
        if not self._gpus.indices:
            return
        self.load = gpu_load(self._gpus.indices)
        now = reading_method(self._gpus.indices)
        self.method = _worst((self._gpus.method, now if now != NONE else COUNTER))
        self._missed = now == NONE or (self._missed and self._gpus.method != COUNTER)
        if self.complete and self._missed:
            logger.warning("GPU energy is not read for now: NVML gives neither a counter nor power")
        self.complete = not self._missed


def metered_gpus(wanted: int) -> MeteredGpus:
    """Return the GPUs to meter; fewer than wanted where they cannot be metered, with a warning why."""
    if wanted == 0:
        return MeteredGpus()
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        logger.warning("GPU energy cannot be metered: NVML does not start", extra={"error": str(error)})
        return MeteredGpus()
    from codecarbon.core.gpu_nvidia import PYNVML_AVAILABLE, is_nvidia_system

    if not (PYNVML_AVAILABLE and is_nvidia_system()):
        logger.warning(
            "GPU energy cannot be metered: nvidia-smi is missing or does not run; "
            "NVIDIA_DRIVER_CAPABILITIES must include utility"
        )
        return MeteredGpus()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    uuids = [_text(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    visible = visible_indices(uuids, wanted=wanted, visible=_visible())
    indices = tuple(index for index in visible if reading_method((index,)) != NONE)
    if len(indices) < wanted:
        logger.warning(
            "GPU energy is metered in part",
            extra={"wanted": wanted, "metered": len(indices), "visible": _visible()},
        )
    return MeteredGpus(
        indices=indices,
        uuids=tuple(uuids[index] for index in indices),
        method=reading_method(indices) if indices else NONE,
    )


def reading_method(indices: Sequence[int]) -> str:
    """Return how the energy of the GPUs can be read at this moment; the worst of them counts."""
    import pynvml

    return _worst([_method(pynvml, index) for index in indices])


def gpu_load(indices: Sequence[int]) -> GpuLoad | None:
    """Return how loaded the GPUs are at this moment, None where NVML does not tell."""
    import pynvml

    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in indices]
        used = sum(pynvml.nvmlDeviceGetMemoryInfo(handle).used for handle in handles)
        busy = sum(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu for handle in handles)
    except pynvml.NVMLError:
        return None
    return GpuLoad(memory_mib=used / 1024**2, percent=busy / len(handles))


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


def _method(pynvml: Any, index: int) -> str:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError:
        return NONE
    if _is_sliced(pynvml, handle):
        return NONE
    for method, read in (
        (COUNTER, pynvml.nvmlDeviceGetTotalEnergyConsumption),
        (POWER, pynvml.nvmlDeviceGetPowerUsage),
    ):
        try:
            read(handle)
        except pynvml.NVMLError:
            continue
        return method
    return NONE


def _is_sliced(pynvml: Any, handle: Any) -> bool:
    """Tell whether MIG is on: the board's figures are then those of other pods too."""
    try:
        current, _ = pynvml.nvmlDeviceGetMigMode(handle)
    except pynvml.NVMLError:
        return False
    return bool(current)


def _worst(methods: Sequence[str]) -> str:
    return max(methods, key=_BEST_FIRST.index)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
