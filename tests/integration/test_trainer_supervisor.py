"""The supervisor of a training over stand-in workers, which end in every way that a process can."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from modelgarden.api.artifact import DatasetReport, Evaluation, FileEntry, Manifest
from modelgarden.api.documents import TRAIN_IMAGE
from modelgarden.api.layout import DATASET_REPORT, DATASET_TRAIN, DATASET_VALIDATION, MANIFEST
from modelgarden.api.pods import PodCarbon, TerminationMessage
from modelgarden_pod.energy import EnergyMeter
from modelgarden_pod.errors import PodError, Terminated, UserError
from modelgarden_pod.local import LocalFolder
from modelgarden_train.attempt import worker_group, worker_process
from modelgarden_train.attempt.checkpoints import restore_newest
from modelgarden_train.attempt.emissions import Attempts
from modelgarden_train.attempt.progress import ProgressBoard
from modelgarden_train.attempt.run import Run
from modelgarden_train.attempt.signals import StopRequest
from modelgarden_train.attempt.supervisor import Grace, Supervisor
from modelgarden_train.attempt.worker_group import WorkerGroup
from modelgarden_train.data.packed import packed
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.data.split_files import write_split
from tests.integration.harness.waiting import wait_for
from tests.integration.trainer_process import SOURCES, lives
from tests.unit.builders import make_dataset_report, make_evaluation
from tests.unit.train.builders import make_config, make_record

ROWS = [PreparedRow(input_ids=[3, 4, 5], spans=((2, 3),), question="2+2?", answer="4")]

BEGIN = """
import os, signal, socket, subprocess, sys, time
from pathlib import Path
from modelgarden_train.attempt.messages import *

channel = Channel(socket.socket(fileno=os.dup(0)))
begin = channel.receive(ORDERS)
inputs = channel.receive(ORDERS)

def save(step):
    path = begin.workspace / "checkpoints" / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "weights").write_text(f"weights of step {step}")
    channel.send(Saved(step=step, path=path))

def for_ever():
    while True:
        signal.pause()
"""
MAKE = """
export = begin.workspace / "export"
(export / "artifact/adapter").mkdir(parents=True)
(export / "artifact/adapter/adapter_model.safetensors").write_text("weights")
channel.send(Stage(name="Exporting"))
channel.send(Made(
    artifact=export, formats={"Adapter": "artifact/adapter"}, hyperparameters={"epochs": "2"},
    evaluation=Path(os.environ["SCORES"]),
))
"""


class Board(ProgressBoard):
    """A board on which a stage may set something off."""

    def __init__(self, at: str = "", then: Callable[[], None] = lambda: None) -> None:
        super().__init__("a", emissions=lambda: make_record(1))
        self._at = at
        self._then = then

    def stage(self, name: str) -> None:
        super().stage(name)
        if name == self._at:
            self._then()


@dataclass
class Scene:
    """A prepared run, and the program that takes the worker's place."""

    run: Run
    stop: StopRequest
    pids: tuple[int, ...] = ()

    def supervise(
        self, program: str, *, board: Board | None = None, worker_seconds: float = 80.0
    ) -> TerminationMessage:
        """Run an attempt with the program as its worker."""
        attempts = Attempts(self.run.folder, attempt="a", meter=EnergyMeter(PodCarbon(), attempt="a", gpus=0))
        command = (sys.executable, "-c", BEGIN + program)
        with WorkerGroup.start(self.run.config, self.run.workspace, command=command) as worker:
            self.pids = worker.pids
            return Supervisor(
                self.run,
                worker=worker,
                stop=self.stop,
                board=board or Board(),
                attempts=attempts,
                grace=Grace(worker=worker_seconds, poll=0.02),
            ).finish()

    def silent_for(self, seconds: int) -> None:
        """Have a worker that trains count as stalled after so long."""
        self.run = replace(
            self.run, config=self.run.config.model_copy(update={"stall_timeout_seconds": seconds})
        )

    @property
    def worker_lives(self) -> bool:
        """Whether there still is a process of the worker's session."""
        return any(session_of(path) in self.pids for path in Path("/proc").glob("[0-9]*"))


def session_of(process: Path) -> int | None:
    """Return the session of a process, None where it is dead."""
    try:
        state, _, _, session = (process / "stat").read_text().rpartition(")")[2].split()[:4]
    except (OSError, ValueError):
        return None
    return None if state == "Z" else int(session)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    scores = tmp_path / "scores.json"
    scores.write_text(Evaluation(scores=make_evaluation(), rows=()).model_dump_json(by_alias=True))
    monkeypatch.setenv("SCORES", str(scores))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, SOURCES)))
    model = LocalFolder(tmp_path / "model")
    model.write("config.json", b"{}")
    model.write("model.safetensors", b"weights")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    config = make_config(model_source=str(model.path), formats=("Adapter",))
    folder = LocalFolder(tmp_path / "run")
    prepare(folder, workspace)
    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    yield Scene(Run(config=config, folder=folder, workspace=workspace, attempt="a"), StopRequest())
    for number, handler in before:
        signal.signal(number, handler)


@pytest.fixture
def group(scene: Scene) -> Scene:
    """Return a run on two GPUs."""
    config = scene.run.config.model_copy(update={"gpus": 2})
    return replace(scene, run=replace(scene.run, config=config))


def prepare(folder: LocalFolder, scratch: Path) -> None:
    """Leave a prepared dataset in a run's folder."""
    files: tuple[FileEntry, ...] = tuple(
        write_split(folder, name, map(packed, ROWS), scratch=scratch)
        for name in (DATASET_TRAIN, DATASET_VALIDATION)
    )
    report: DatasetReport = make_dataset_report().model_copy(update={"files": files})
    folder.write(DATASET_REPORT, report.model_dump_json(by_alias=True).encode())


def sigterm() -> None:
    """Ask this process to stop, as the kubelet does."""
    os.kill(os.getpid(), signal.SIGTERM)


def test_what_the_worker_makes_is_published_and_nothing_of_it_goes_on(scene: Scene) -> None:
    ended = scene.supervise(MAKE + "subprocess.Popen(['sleep', '1000']); channel.receive(ORDERS)")

    assert ended.reason == "Succeeded"
    manifest = Manifest.read(scene.run.folder.read(MANIFEST), reader=TRAIN_IMAGE)
    assert manifest.hyperparameters == {"epochs": "2"}
    assert "artifact/adapter/adapter_model.safetensors" in {entry.path for entry in manifest.files}
    assert not scene.worker_lives


@pytest.mark.parametrize(
    ("program", "kills", "want_reason", "want_text"),
    [
        pytest.param(
            "os.kill(os.getpid(), signal.SIGKILL)", (0, 1),
            "OutOfMemory", "killed for want of memory",
            id="the kernel has no more memory for it",
        ),
        pytest.param(
            "os.kill(os.getpid(), signal.SIGKILL)", (1, 1),
            "TrainingFailed", "was ended by SIGKILL, and not for want",
            id="somebody kills it",
        ),
        pytest.param("os.abort()", (0, 0), "TrainingFailed", "was ended by SIGABRT", id="it crashes"),
        pytest.param("sys.exit(7)", (0, 0), "TrainingFailed", "exit code 7", id="it exits"),
        pytest.param(
            "channel.send(Failed(reason='ModelInvalid', message='no weights', exit_code=64)); for_ever()", (0, 0),
            "ModelInvalid", "no weights",
            id="it says why and stays",
        ),
        pytest.param(
            "channel.send(begin)", (0, 0), "TrainingFailed", "ValidationError", id="it says what it must not"
        ),
    ],
)  # fmt: skip
def test_a_worker_that_ends_early_ends_the_attempt_with_its_reason(
    program: str,
    kills: tuple[int, int],
    want_reason: str,
    want_text: str,
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = iter(kills)
    monkeypatch.setattr(worker_process, "oom_kills", lambda: next(counts))

    with pytest.raises(PodError) as raised:
        scene.supervise(program)

    assert (raised.value.reason, want_text in raised.value.message) == (want_reason, True), raised.value
    assert isinstance(raised.value, UserError) == (want_reason == "ModelInvalid")
    assert not scene.worker_lives


def test_sigterm_reaches_the_worker_and_the_step_that_it_saves_is_in_storage(
    scene: Scene, tmp_path: Path
) -> None:
    program = """
def stop(number, frame):
    save(30)
    channel.send(Failed(reason="Retrying", message="stopped by SIGTERM", exit_code=143))
signal.signal(signal.SIGTERM, stop)
channel.send(Stage(name="Training"))
for_ever()
"""
    with pytest.raises(Terminated):
        scene.supervise(program, board=Board("Training", sigterm))

    restored = restore_newest(scene.run.folder, tmp_path / "restored")
    assert restored is not None
    assert (restored.path / "weights").read_text() == "weights of step 30"
    assert not scene.worker_lives


def test_a_worker_that_does_not_end_after_sigterm_is_killed_and_what_it_saved_before_is_kept(
    scene: Scene, tmp_path: Path
) -> None:
    program = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
save(20)
channel.send(Stage(name="Training"))
for_ever()
"""
    with pytest.raises(Terminated, match=r"did not end within 0 s of SIGTERM and was killed"):
        scene.supervise(program, board=Board("Training", sigterm), worker_seconds=0.3)

    restored = restore_newest(scene.run.folder, tmp_path / "restored")
    assert restored is not None
    assert restored.step == 20
    assert not scene.worker_lives


def stored(scene: Scene, folder: Path) -> str | None:
    """Return what the newest checkpoint in storage has, None where there is none."""
    restored = restore_newest(scene.run.folder, folder / "restored")
    return (restored.path / "weights").read_text() if restored is not None else None


STALLING = """
from modelgarden_train.attempt.signals import show_stacks_on_request
show_stacks_on_request()
save(20)
channel.send(Stage(name="Training"))
channel.send(Stepped(step=21, total=90, epoch=0.5, tokens=10, loss=None))
for_ever()
"""


def test_a_worker_that_stalls_shows_its_stacks_and_its_checkpoint_is_kept(
    scene: Scene, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scene.silent_for(1)

    with pytest.raises(PodError, match=r"was silent for [1-9][0-9]* s at step 21 and was ended") as raised:
        scene.supervise(STALLING)

    assert (raised.value.reason, raised.value.exit_code) == ("Stalled", 1)
    assert "in for_ever" in capfd.readouterr().err
    assert stored(scene, tmp_path) == "weights of step 20"
    assert not scene.worker_lives


def test_a_worker_that_can_show_nothing_is_ended_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_group, "EXIT_SECONDS", 0.3)
    scene.silent_for(1)
    deaf = STALLING.replace("show_stacks_on_request()\nsave", "signal.signal(10, signal.SIG_IGN)\nsave")

    with pytest.raises(PodError, match="was silent"):
        scene.supervise(deaf)

    assert not scene.worker_lives


def test_a_worker_that_gives_signs_of_life_may_take_its_time(scene: Scene) -> None:
    scene.silent_for(1)
    busy = "channel.send(Stepped(step=1, total=9, epoch=0.1, tokens=1, loss=None))\n"
    busy += "for _ in range(30): time.sleep(0.1); channel.send(Alive())\n"

    assert scene.supervise(busy + MAKE).reason == "Succeeded"


def test_what_a_worker_saved_before_it_failed_is_in_storage(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the loss became nan"):
        scene.supervise(
            "save(20); channel.send(Failed(reason='Diverged', message='the loss became nan', exit_code=64))"
        )

    assert stored(scene, tmp_path) == "weights of step 20"


def test_a_worker_that_is_still_importing_when_sigterm_comes_was_stopped(scene: Scene) -> None:
    with pytest.raises(Terminated, match="was ended by SIGTERM"):
        scene.supervise("channel.send(Stage(name='Training')); for_ever()", board=Board("Training", sigterm))


IN_A_GROUP = """
def lost():
    channel.send(Failed(reason="TrainingFailed", message="nobody there", exit_code=1, peer_lost=True))
    for_ever()
"""


def test_workers_of_several_gpus_make_one_artifact(group: Scene) -> None:
    ended = group.supervise(
        "if begin.rank:\n    channel.send(Done())\n    channel.receive(ORDERS)\n    sys.exit()\n" + MAKE
    )

    assert ended.reason == "Succeeded"
    assert len(group.pids) == 2
    assert not group.worker_lives


@pytest.mark.parametrize("dies", [0, 1])
def test_where_one_worker_is_killed_the_attempt_ends_with_what_became_of_it(dies: int, group: Scene) -> None:
    program = f"lost() if begin.rank != {dies} else (time.sleep(0.5), os.kill(os.getpid(), signal.SIGKILL))"

    with pytest.raises(PodError, match=r"SIGKILL") as raised:
        group.supervise(IN_A_GROUP + program)

    assert raised.value.reason in ("TrainingFailed", "OutOfMemory")
    assert not group.worker_lives


def test_a_worker_beside_the_first_one_tells_what_is_wrong_with_the_input(group: Scene) -> None:
    wrong = "channel.send(Failed(reason='ModelInvalid', message='no weights', exit_code=64)); for_ever()"

    with pytest.raises(UserError, match="no weights"):
        group.supervise(IN_A_GROUP + f"if begin.rank == 0: for_ever()\n{wrong}")


def test_workers_that_only_miss_each_other_end_the_attempt_too(
    group: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_group, "CAUSE_SECONDS", 0.3)

    with pytest.raises(PodError, match="nobody there"):
        group.supervise(IN_A_GROUP + "lost() if begin.rank else for_ever()")


def test_sigterm_waits_for_the_step_that_the_first_worker_saves(group: Scene, tmp_path: Path) -> None:
    program = """
def stop(number, frame):
    if begin.rank == 0:
        time.sleep(0.5)
        save(30)
    channel.send(Failed(reason="Retrying", message="stopped by SIGTERM", exit_code=143))
signal.signal(signal.SIGTERM, stop)
met = begin.workspace / "met"
if begin.rank:
    met.touch()
while not met.exists():
    time.sleep(0.01)
channel.send(Stage(name="Training"))
for_ever()
"""
    with pytest.raises(Terminated):
        group.supervise(program, board=Board("Training", sigterm))

    restored = restore_newest(group.run.folder, tmp_path / "restored")
    assert restored is not None
    assert restored.step == 30
    assert not group.worker_lives


def test_sigterm_while_the_inputs_are_fetched_ends_at_once(scene: Scene) -> None:
    with pytest.raises(Terminated):
        scene.supervise("for_ever()", board=Board("Loading", sigterm))

    assert not scene.worker_lives


def test_a_checkpoint_that_storage_refuses_ends_the_training(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: LocalFolder, source: Path, name: str) -> FileEntry:
        raise UserError("AccessDenied", "no s3:PutObject")

    monkeypatch.setattr(LocalFolder, "upload", refuse)

    with pytest.raises(UserError, match="no s3:PutObject"):
        scene.supervise("save(20); for_ever()")

    assert not scene.worker_lives


def test_inputs_that_are_missing_end_the_worker_too(scene: Scene) -> None:
    shutil.rmtree(scene.run.folder.child("dataset").path)  # type: ignore[attr-defined]

    with pytest.raises(UserError, match="run prepare first"):
        scene.supervise("for_ever()")

    wait_for(lambda: not scene.worker_lives, 10, what="the worker to end")


def test_a_process_that_is_to_end_with_its_parent_does_whatever_ends_that(scene: Scene) -> None:
    child = "import signal; from modelgarden_pod.prctl import end_with_parent; end_with_parent(); "
    child += "print('ready', flush=True); signal.pause()"
    parent = "import signal, subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]]); "
    parent += "print(child.pid, flush=True); signal.pause()"
    with subprocess.Popen(
        [sys.executable, "-c", parent, child], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        words = [process.stdout.readline().strip(), process.stdout.readline().strip()]
        process.kill()
    pid = next(int(word) for word in words if word != "ready")
    assert "ready" in words

    wait_for(lambda: not lives(pid), 10, what="the child to end")


def test_the_worker_gets_no_secret_and_asks_no_hub(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "kept-to-itself")
    monkeypatch.setenv("HF_TOKEN", "hf_kept-to-itself")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    seen = scene.run.workspace / "environment"

    scene.supervise(f"Path({str(seen)!r}).write_text(repr(dict(os.environ)))\n" + MAKE)

    text = seen.read_text()
    assert "kept-to-itself" not in text
    assert "'HF_HUB_OFFLINE': '1'" in text
