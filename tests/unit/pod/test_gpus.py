"""Which GPUs are metered, and how loaded they are: what CodeCarbon 3.3.2 misreads into an energy of zero."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from modelgarden_pod.gpus import GpuLoad, gpu_load, visible_indices

UUIDS = ("GPU-aaaa-1", "GPU-bbbb-2", "GPU-bbcc-3")


@pytest.mark.parametrize(
    ("visible", "wanted", "want_indices"),
    [
        pytest.param(None, 1, (0,), id="the first, where nothing is chosen"),
        pytest.param(None, 3, (0, 1, 2), id="all of them"),
        pytest.param("all", 2, (0, 1), id="all, as container runtimes write it"),
        pytest.param("2", 1, (2,), id="an index"),
        pytest.param("0,2", 2, (0, 2), id="two indices"),
        pytest.param("GPU-bbbb-2", 1, (1,), id="a UUID"),
        pytest.param("GPU-bbc", 1, (2,), id="a prefix of a UUID"),
        pytest.param("MIG-bbbb-2", 1, (), id="a MIG slice, which has no counter of its own"),
        pytest.param("7", 1, (), id="an index that does not exist"),
        pytest.param("-1", 1, (), id="no device"),
        pytest.param("1,1", 2, (1,), id="the same device twice"),
    ],
)
def test_the_choice_of_cuda_is_followed(
    visible: str | None, wanted: int, want_indices: tuple[int, ...]
) -> None:
    assert visible_indices(UUIDS, wanted=wanted, visible=visible) == want_indices


class NVMLError(Exception):
    """As NVML's library raises it."""


def nvml(*boards: tuple[int, int] | None) -> Any:
    """Return NVML of a machine with boards of so many MiB in use and so many percent, None for one that does not tell."""

    def told(index: int) -> tuple[int, int]:
        board = boards[index]
        if board is None:
            raise NVMLError
        return board

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda index: SimpleNamespace(used=told(index)[0] * 1024**2),
        nvmlDeviceGetUtilizationRates=lambda index: SimpleNamespace(gpu=told(index)[1]),
    )


@pytest.mark.parametrize(
    ("boards", "want"),
    [
        (((1000, 90), (7, 0), (3000, 80)), GpuLoad(memory_mib=4000.0, percent=85.0)),
        (((1000, 90), (7, 0), None), None),
    ],
    ids=["the pod's own", "one that does not tell"],
)
def test_the_load_is_that_of_the_pods_gpus(
    boards: tuple[tuple[int, int] | None, ...], want: GpuLoad | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml(*boards))

    assert gpu_load((0, 2)) == want
