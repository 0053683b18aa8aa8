"""Runs the energy meter with the real CodeCarbon over made-up hardware; tells its records and what it connected to.

Runs in the trainer's environment and reads orders from standard input, one JSON object a line: {"wanted": 1,
"startError": null, "gpus": [fields of Gpu], "powercap": null, "steps": [{"seconds": 1, "set": [[0, "field", value]],
"package": null}], "variables": {...}, "folder": "...", "log": "...", "answer": "..."}. Each order gets a process of its
own, as CodeCarbon keeps what it found at import; all of them are forked from one that has imported what CodeCarbon
itself imports, which takes the longest.
"""

# ruff: noqa: N802 -- the names of NVML

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass, field
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

import pynvml

from modelgarden.api.pods import PodCarbon
from modelgarden_pod.energy import EnergyMeter


@dataclass
class Gpu:
    """One made-up GPU; None is what its driver does not support."""

    uuid: str
    counter_mj: int | None = 5_000_000_000
    power_mw: int | None = 100_000
    mig: int | None = 0
    error: int | None = None
    """The error of every reading."""
    handle_error: int | None = None
    """The error of asking for the GPU at all."""
    memory_error: int | None = None
    """The error of asking for its memory, which CodeCarbon alone does."""


@dataclass
class Nvml:
    """The functions of pynvml that the meter and CodeCarbon call, with the errors of the real module."""

    start_error: int | None = None
    gpus: list[Gpu] = field(default_factory=list)

    def install(self) -> None:
        """Take the place of the driver's library."""
        for name in dir(self):
            if name.startswith("nvml"):
                assert callable(getattr(pynvml, name)), name
                setattr(pynvml, name, getattr(self, name))

    def nvmlInit(self) -> None:
        _fail(self.start_error)

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Gpu:
        _fail(self.gpus[index].handle_error)
        return self.gpus[index]

    def nvmlDeviceGetUUID(self, gpu: Gpu) -> str:
        return gpu.uuid

    def nvmlDeviceGetName(self, gpu: Gpu) -> str:
        return "Made-up GPU"

    def nvmlDeviceGetMigMode(self, gpu: Gpu) -> list[int]:
        mode = _read(gpu, gpu.mig)
        return [mode, mode]

    def nvmlDeviceGetEnforcedPowerLimit(self, gpu: Gpu) -> int:
        return 700_000

    def nvmlDeviceGetMemoryInfo(self, gpu: Gpu) -> Any:
        _fail(gpu.memory_error)
        return pynvml.c_nvmlMemory_t(2**34, 2**34, 0)

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: Gpu) -> int:
        return _read(gpu, gpu.counter_mj)

    def nvmlDeviceGetPowerUsage(self, gpu: Gpu) -> int:
        return _read(gpu, gpu.power_mw)

    def nvmlDeviceGetUtilizationRates(self, gpu: Gpu) -> Any:
        return pynvml.c_nvmlUtilization_t(gpu=50, memory=50)

    def nvmlDeviceGetTemperature(self, gpu: Gpu, sensor: int) -> int:
        return 40

    def nvmlDeviceGetComputeMode(self, gpu: Gpu) -> int:
        return 0

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: Gpu) -> list[Any]:
        return []

    def nvmlDeviceGetGraphicsRunningProcesses(self, gpu: Gpu) -> list[Any]:
        return []


def _fail(error: int | None) -> None:
    if error is not None:
        raise pynvml.NVMLError(error)


def _read(gpu: Gpu, value: int | None) -> int:
    _fail(gpu.error)
    _fail(pynvml.NVML_ERROR_NOT_SUPPORTED if value is None else None)
    assert value is not None
    return value


class Powercap:
    """RAPL as a kernel with one CPU package shows it, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._package = folder / "intel-rapl" / "intel-rapl:0"
        self._package.mkdir(parents=True)
        (self._package / "name").write_text("package-0")
        (self._package / "max_energy_range_uj").write_text(str(2**40))
        self.count(1_000_000)

    def count(self, microjoules: int) -> None:
        """Set the counter."""
        (self._package / "energy_uj").write_text(str(microjoules))

    def install(self) -> None:
        """Take the place of /sys/class/powercap."""
        cpu: Any = importlib.import_module("codecarbon.core.cpu")
        hardware: Any = importlib.import_module("codecarbon.external.hardware")
        cpu.is_rapl_available = partial(cpu.is_rapl_available, str(self._folder))
        hardware.CPU.__init__ = partialmethod(hardware.CPU.__init__, rapl_dir=str(self._folder))
        assert cpu.is_rapl_available()


def cut_the_network() -> list[str]:
    """Refuse every connection and return the list that they are noted in."""
    asked: list[str] = []

    def refuse(_: socket.socket, address: Any) -> None:
        asked.append(repr(address))
        raise OSError("Network is unreachable")

    def unknown(host: Any, *_: Any, **__: Any) -> None:
        asked.append(repr(host))
        raise socket.gaierror("Temporary failure in name resolution")

    socket.socket.connect = refuse  # type: ignore[method-assign, assignment]
    socket.getaddrinfo = unknown  # type: ignore[assignment]
    return asked


def probe(case: dict[str, Any]) -> dict[str, Any]:
    """Run a case and return what the meter said at its start and after each step."""
    nvml = Nvml(start_error=case["startError"], gpus=[Gpu(**one) for one in case["gpus"]])
    nvml.install()
    powercap = Powercap(Path(case["powercap"])) if case["powercap"] else None
    if powercap is not None:
        powercap.install()
    asked = cut_the_network()

    meter = EnergyMeter(PodCarbon(zone="DEU", pue_milli=1200), attempt="probe", gpus=case["wanted"])
    meter.start()
    taken = [(time.monotonic(), meter.record())]
    for step in case["steps"]:
        for index, name, value in step.get("set", []):
            assert hasattr(nvml.gpus[index], name)
            setattr(nvml.gpus[index], name, value)
        if powercap is not None and step.get("package"):
            powercap.count(step["package"])
        time.sleep(step["seconds"])  # the run time that is metered, not a wait for something
        taken.append((time.monotonic(), meter.record()))
    meter.stop()
    records = [record.model_dump_json(by_alias=True) for _, record in taken]
    return {"seconds": [at for at, _ in taken], "records": records, "connections": asked}


def follow(order: dict[str, Any]) -> None:
    """Carry an order out in this process and end it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.clear()
    os.environ.update(order["variables"])
    os.chdir(order["folder"])
    logging.basicConfig(stream=sys.stderr)
    try:
        told = probe(order)
    except BaseException:  # noqa: BLE001 -- told as an empty answer, with the log
        traceback.print_exc()
        told = {}
    sys.stderr.flush()
    answer = Path(order["answer"])
    partial = answer.with_suffix(".partial")
    partial.write_text(json.dumps(told))
    partial.rename(answer)
    os._exit(0)


def main() -> None:
    """Take orders until standard input ends."""
    for name in ("cpuinfo", "pandas", "psutil", "requests"):
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended: the answer is a file
    for line in sys.stdin:
        if os.fork() == 0:
            follow(json.loads(line))


if __name__ == "__main__":
    main()
