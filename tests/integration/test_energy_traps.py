"""The energy meter over the real CodeCarbon, where that would count nothing, too much, or the wrong GPU in silence."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from modelgarden.api.emissions import EmissionsRecord, emissions_milligrams
from tests.integration.harness.waiting import wait_for
from tests.integration.trainer_process import SOURCES, trainer_python

PROBE = Path(__file__).with_name("energy_probe.py")
SECONDS = 120.0

LIBRARY_NOT_FOUND, GPU_IS_LOST, UNKNOWN = 12, 15, 999
"""Of nvml.h."""
COUNTER = 5_000_000_000
"""Millijoules that a GPU has counted before the run."""
UUIDS = ("GPU-aaaa-1", "GPU-bbbb-2", "GPU-cccc-3")

Step = dict[str, Any]


@dataclass(frozen=True)
class Probed:
    """What the meter said at its start and after each step."""

    records: tuple[EmissionsRecord, ...]
    seconds: tuple[float, ...]
    connections: tuple[str, ...]
    log: str

    @property
    def last(self) -> EmissionsRecord:
        """The record at the end."""
        return self.records[-1]

    def gpu_joules(self) -> list[int]:
        """Return the GPUs' energy at each record."""
        return [record.energy_joules.gpu for record in self.records]


@dataclass
class Pod:
    """Where the meter runs."""

    probe: subprocess.Popen[str]
    root: Path
    gpus: tuple[dict[str, Any], ...] = ({"uuid": UUIDS[0]},)
    wanted: int = 1
    variables: dict[str, str] = field(default_factory=dict)
    start_error: int | None = None
    nvidia_smi: int | None = 0
    """Exit code of the program, None where there is none."""
    working_folder: Path | None = None
    powercap: Path | None = None
    """Where RAPL can be read, None where it cannot."""

    def start(self, steps: Sequence[Step] = (), *, name: str = "meter") -> Path:
        """Start the meter; each step changes GPUs, then lets time pass. Return where its answer will lie."""
        programs = self.root / "bin"
        programs.mkdir(exist_ok=True)
        if self.nvidia_smi is not None:
            (programs / "nvidia-smi").write_text(f"#!/bin/sh\nexit {self.nvidia_smi}\n")
            (programs / "nvidia-smi").chmod(0o755)
        answer = self.root / f"{name}.json"
        chosen = {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"}
        inherited = {name: value for name, value in os.environ.items() if name not in chosen}
        order = {
            "wanted": self.wanted,
            "startError": self.start_error,
            "gpus": self.gpus,
            "powercap": self.powercap and str(self.powercap),
            "steps": steps,
            "variables": inherited | {"PATH": str(programs)} | self.variables,
            "folder": str(self.working_folder or self.root),
            "log": str(answer.with_suffix(".log")),
            "answer": str(answer),
        }
        assert self.probe.stdin is not None
        self.probe.stdin.write(f"{json.dumps(order)}\n")
        self.probe.stdin.flush()
        return answer

    def run(self, *steps: Step) -> Probed:
        """Run the meter to its end."""
        return finished(self.start(steps))


def finished(answer: Path) -> Probed:
    """Wait for the meter's end."""
    wait_for(answer.exists, SECONDS, what="the meter's answer")
    log = answer.with_suffix(".log").read_text()
    told = json.loads(answer.read_text())
    assert told, log
    return Probed(
        records=tuple(EmissionsRecord.model_validate_json(record) for record in told["records"]),
        seconds=tuple(told["seconds"]),
        connections=tuple(told["connections"]),
        log=log,
    )


def after(seconds: float = 0.3, *changes: tuple[int, str, int | None]) -> Step:
    """Return a step: the changes of (GPU, field, value), then so much time."""
    return {"seconds": seconds, "set": changes}


@pytest.fixture(scope="module")
def probe() -> Iterator[subprocess.Popen[str]]:
    """The process that every meter is forked from."""
    path = os.pathsep.join(map(str, SOURCES))
    process = subprocess.Popen(
        [trainer_python(), PROBE], env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.PIPE, text=True
    )
    yield process
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(SECONDS) == 0


@pytest.fixture
def pod(probe: subprocess.Popen[str], tmp_path: Path) -> Pod:
    return Pod(probe, tmp_path)


def test_a_counter_is_read_to_the_joule_and_the_sums_can_be_redone(pod: Pod) -> None:
    """No network beside it, as in most pods."""
    probed = pod.run(after(2.0, (0, "counter_mj", COUNTER + 36_000_000)))

    assert probed.gpu_joules() == [0, 36_000]
    last = probed.last
    assert (last.methods.gpu, last.methods.ram) == ("nvml-energy-counter", "dimm-model-share")
    assert last.devices == UUIDS[:1]
    assert last.state == "Estimated"  # by the model of the memory, whatever the CPU has
    energy = last.energy_joules
    assert energy.total == energy.gpu + energy.cpu + energy.ram
    assert last.intensity is not None
    assert (last.intensity.zone, last.intensity.milligrams_per_kwh > 100_000) == ("DEU", True)
    assert last.emissions_milligrams == emissions_milligrams(
        energy.total, pue_milli=1200, milligrams_per_kwh=last.intensity.milligrams_per_kwh
    )
    assert probed.connections == ()


def test_without_a_counter_power_is_integrated_over_time(pod: Pod) -> None:
    pod.gpus = ({"uuid": UUIDS[0], "counter_mj": None, "power_mw": 250_000},)

    probed = pod.run(after(3.0), after(3.0, (0, "power_mw", 500_000)))

    at = probed.seconds
    first, second, third = probed.gpu_joules()
    assert second - first == pytest.approx(250 * (at[1] - at[0]), rel=0.1)
    # The meter sampled 250 W for the last time up to a second after the step began.
    assert third - second == pytest.approx(500 * (at[2] - at[1]), rel=0.2)
    assert (probed.last.methods.gpu, probed.last.state) == ("nvml-power-samples", "Estimated")


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(LIBRARY_NOT_FOUND, id="no library"),
        pytest.param(UNKNOWN, id="a device that the container may not open"),
    ],
)
def test_a_gpu_without_nvml_leaves_a_partial_record(error: int, pod: Pod) -> None:
    pod.start_error = error

    probed = pod.run(after(2.0))

    check_unmetered(probed)


@pytest.mark.parametrize(
    ("exit_code", "want_text"),
    [
        pytest.param(None, "NVIDIA_DRIVER_CAPABILITIES must include utility", id="missing"),
        pytest.param(1, "nvidia-smi", id="broken"),
    ],
)
def test_a_gpu_that_codecarbon_ignores_leaves_a_partial_record(
    exit_code: int | None, want_text: str, pod: Pod
) -> None:
    """CodeCarbon looks for the nvidia-smi program and counts nothing where that does not run."""
    pod.nvidia_smi = exit_code

    probed = pod.run(after(2.0, (0, "counter_mj", COUNTER + 36_000_000)))

    check_unmetered(probed)
    assert want_text in probed.log


@pytest.mark.parametrize(
    "gpu",
    [
        pytest.param({"counter_mj": None, "power_mw": None}, id="a virtual GPU without counter and power"),
        pytest.param({"mig": 1}, id="a board that is cut into MIG slices, of which the pod has one"),
    ],
)
def test_a_gpu_that_gives_no_figure_of_its_own_leaves_a_partial_record(
    gpu: dict[str, int | None], pod: Pod
) -> None:
    pod.gpus = ({"uuid": UUIDS[0], **gpu},)
    pod.variables = {"CUDA_VISIBLE_DEVICES": "0"}

    probed = pod.run(after(2.0))

    check_unmetered(probed)


def check_unmetered(probed: Probed) -> None:
    """The GPU's zero is told as a gap, the rest is metered, and the log says why."""
    last = probed.last
    assert (last.state, last.methods.gpu, last.devices) == ("Partial", "none", ())
    assert last.energy_joules.gpu == 0
    assert last.energy_joules.ram > 0
    assert "GPU energy" in probed.log


@pytest.mark.parametrize(
    ("variables", "want"),
    [
        pytest.param({"CUDA_VISIBLE_DEVICES": UUIDS[2]}, [2], id="a UUID"),
        pytest.param({"NVIDIA_VISIBLE_DEVICES": UUIDS[1]}, [1], id="the device plugin's choice"),
        pytest.param({"CUDA_VISIBLE_DEVICES": "0,2"}, [0, 2], id="two indices"),
    ],
)
def test_only_the_visible_gpus_are_counted(variables: dict[str, str], want: list[int], pod: Pod) -> None:
    pod.gpus = tuple({"uuid": uuid} for uuid in UUIDS)
    pod.variables = variables
    pod.wanted = len(want)
    spent = [1_000, 20_000, 300_000]

    probed = pod.run(
        after(0.3, *((index, "counter_mj", COUNTER + 1000 * joules) for index, joules in enumerate(spent)))
    )

    assert probed.gpu_joules()[-1] == sum(spent[index] for index in want)
    assert probed.last.devices == tuple(UUIDS[index] for index in want)
    assert probed.last.state == "Estimated"


def test_a_pod_without_gpus_counts_none_of_its_node(pod: Pod) -> None:
    pod.wanted = 0

    probed = pod.run(after(2.0, (0, "counter_mj", COUNTER + 36_000_000)))

    assert (probed.last.energy_joules.gpu, probed.last.methods.gpu) == (0, "none")
    assert (probed.last.devices, probed.last.state) == ((), "Estimated")


def test_a_pod_is_not_charged_with_what_rapl_counts_for_the_whole_machine(pod: Pod) -> None:
    pod.powercap = pod.root / "powercap"

    probed = pod.run({"seconds": 1.5, "package": 1_000_000_000_000})

    assert probed.last.energy_joules.cpu < 10_000  # of the package's million
    assert (probed.last.methods.cpu, probed.last.state) == ("cpu-load-model", "Estimated")


def test_nvml_that_fails_in_the_middle_is_a_gap_until_the_counter_is_back(pod: Pod) -> None:
    probed = pod.run(
        after(0.3, (0, "counter_mj", COUNTER + 1_000_000)),
        after(1.5, (0, "error", GPU_IS_LOST), (0, "counter_mj", COUNTER + 3_000_000)),
        after(0.3, (0, "error", None)),
    )

    assert probed.gpu_joules() == [0, 1_000, 1_000, 3_000]
    assert [record.state for record in probed.records] == ["Estimated", "Estimated", "Partial", "Estimated"]
    assert probed.last.energy_joules.ram > 0


def test_power_that_was_not_sampled_stays_a_gap(pod: Pod) -> None:
    pod.gpus = ({"uuid": UUIDS[0], "counter_mj": None},)

    probed = pod.run(after(1.5), after(1.5, (0, "error", UNKNOWN)), after(1.5, (0, "error", None)))

    first, second, third, fourth = probed.gpu_joules()
    assert first < second <= third < fourth
    assert [record.state for record in probed.records] == ["Estimated", "Estimated", "Partial", "Partial"]


def test_a_counter_that_fails_alone_is_bridged_by_power_and_made_up_for(pod: Pod) -> None:
    probed = pod.run(
        after(2.0, (0, "counter_mj", None)),
        after(0.3, (0, "counter_mj", COUNTER + 5_000_000)),
    )

    first, bridged, last = probed.gpu_joules()
    assert (first, last) == (0, 5_000)
    assert bridged == pytest.approx(100 * (probed.seconds[1] - probed.seconds[0]), rel=0.2)
    assert [record.methods.gpu for record in probed.records] == [
        "nvml-energy-counter",
        "nvml-power-samples",
        "nvml-energy-counter",
    ]


def test_a_counter_that_begins_again_takes_nothing_back(pod: Pod) -> None:
    """The driver was loaded again: what it counted before is kept, and the interval of the fall is bridged."""
    probed = pod.run(
        after(0.3, (0, "counter_mj", COUNTER + 7_000_000)),
        after(0.3, (0, "counter_mj", 0), (0, "power_mw", 0)),
        after(0.3, (0, "counter_mj", 2_000_000)),
    )

    assert probed.gpu_joules() == [0, 7_000, 7_000, 9_000]


@pytest.mark.parametrize("broken", ["handle_error", "memory_error"])
def test_a_gpu_that_breaks_codecarbon_leaves_a_record_that_says_so(broken: str, pod: Pod) -> None:
    """CodeCarbon asks for every GPU that it sees and gives up without an error of its own."""
    pod.gpus = ({"uuid": UUIDS[0]}, {"uuid": UUIDS[1], broken: GPU_IS_LOST})

    probed = pod.run(after(1.0))

    assert (probed.last.state, probed.last.methods.gpu, probed.last.devices) == ("Unavailable", "none", ())
    assert probed.last.energy_joules.total == 0
    assert "Energy cannot be metered" in probed.log


def test_neither_a_home_nor_a_folder_to_write_to_is_needed(pod: Pod) -> None:
    """A read-only root file system; /proc takes no files, from root neither."""
    pod.working_folder = Path("/proc")
    pod.variables = {"HOME": "/proc", "XDG_CACHE_HOME": "/proc"}

    probed = pod.run(after(0.3, (0, "counter_mj", COUNTER + 36_000_000)))

    assert probed.gpu_joules() == [0, 36_000]
    assert probed.last.state == "Estimated"


def test_two_meters_on_one_node_do_not_keep_each_other_out(pod: Pod) -> None:
    """CodeCarbon's lock, which also a process that was killed leaves behind, lies in the temporary folder."""
    lock = pod.root / ".codecarbon.lock"
    lock.write_text("left behind")
    pod.variables = {"TMPDIR": str(pod.root)}
    steps = [after(1.0, (0, "counter_mj", COUNTER + 36_000_000))]

    answers = [pod.start(steps, name=name) for name in ("first", "second")]

    assert [finished(answer).gpu_joules() for answer in answers] == [[0, 36_000]] * 2
    assert lock.read_text() == "left behind"
    assert not list(pod.root.glob("*.csv"))
