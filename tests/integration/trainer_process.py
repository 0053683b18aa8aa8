"""The trainer as a process, in the environment of its own lock file, which lives in the user's cache.

`python -m tests.integration.trainer_process` makes that environment and the models ahead of the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hack.uv import cache_root
from modelgarden.api.pods import TerminationMessage, TrainReport
from tests.integration.environments import digest_of, python_of

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "images" / "train"
LLAMA_CPP = ROOT / "images" / "gguf"
TINY_MODEL = Path(__file__).with_name("tiny_model.py")
TINY_VISION_MODEL = TINY_MODEL.with_name("tiny_vision_model.py")
_LOCK = PROJECT / "uv.lock"
SOURCES = (ROOT / "operator", ROOT / "images" / "pod", PROJECT)
START_SECONDS = 240.0
_ONLY_THE_WORKER = """import sys

if "modelgarden_train.attempt.worker" in sys.orig_argv:
"""


def trainer_python() -> Path:
    """Return the Python of the trainer's environment, made first where it is not there as a whole.

    MODELGARDEN_TRAINER_PYTHON names one to take instead, where nothing can be installed.
    """
    if given := os.environ.get("MODELGARDEN_TRAINER_PYTHON"):
        return Path(given)
    return python_of(PROJECT, "train-env")


def llama_cpp() -> Path:
    """Return the folder of llama.cpp's packages, built first where it is not there; that takes minutes."""
    return python_of(LLAMA_CPP, "gguf-env").parents[1] / "lib" / "python3.11" / "site-packages"


def tiny_model(*options: str) -> Path:
    """Return the folder of the random model that `tiny_model.py` makes with these options; nothing may change it."""
    return _made_by(TINY_MODEL, *options)


def tiny_vision_model() -> Path:
    """Return the folder of the random vision model that `tiny_vision_model.py` makes; nothing may change it."""
    return _made_by(TINY_VISION_MODEL)


def _made_by(script: Path, *options: str) -> Path:
    name = script.stem.replace("_", "-")
    folder = cache_root() / f"{name}-{digest_of(_LOCK, script, *options)}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=cache_root(), prefix=f".{name}-"))
        subprocess.run([trainer_python(), script, staging, *options], check=True, capture_output=True)
        try:
            staging.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(staging)
    return folder


@dataclass
class Ended:
    """How a command ended."""

    exit_code: int
    message: TerminationMessage
    log: str


@dataclass
class TrainerProcess:
    """One run of `python -m modelgarden_train`."""

    python: Path
    folder: Path
    config: Mapping[str, Any]
    attempt: str
    variables: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        self.log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, command: str, *options: str) -> Ended:
        """Run a command to its end."""
        self.start(command, *options)
        return self.wait()

    def start(self, command: str, *options: str) -> None:
        """Start a command."""
        job = self.folder / "job.json"
        job.write_text(json.dumps(self.config))
        port = ["--port", str(self.port)] if command != "evaluate" else []
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [self.python, "-m", "modelgarden_train", command, "--config", job, *port, *options],
                env=self.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )

    def wait(self, timeout: float = START_SECONDS) -> Ended:
        """Wait for the end."""
        assert self._process is not None
        code = self._process.wait(timeout)
        text = self.log.read_text()
        left = self.folder / "termination"
        assert left.exists() or code < 0, text
        message = (
            TerminationMessage.model_validate_json(left.read_text())
            if left.exists()
            else TerminationMessage(reason="Killed", message="")
        )
        return Ended(exit_code=code, message=message, log=text)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def workers(self) -> list[int]:
        """Return the processes that the supervisor has started and that live."""
        assert self._process is not None
        threads = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        return [int(child) for children in threads for child in children.read_text().split()]

    @property
    def pid(self) -> int:
        """The supervisor's process."""
        assert self._process is not None
        return self._process.pid

    def report(self) -> TrainReport | None:
        """Return what /progress tells, None while nothing answers; fails when the process has ended."""
        assert self._process is not None
        code = self._process.poll()
        if code is not None:
            raise RuntimeError(f"the trainer ended with {code}:\n{self.log.read_text()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/progress", timeout=5) as answer:
                return TrainReport.model_validate_json(answer.read())
        except OSError:
            return None

    def reached(self, step: int) -> bool:
        """Tell whether the newest complete checkpoint is of this step or later."""
        report = self.report()
        return report is not None and (report.progress.checkpoint_step or 0) >= step

    def environment(self) -> dict[str, str]:
        """Return the variables that the process runs with."""
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                [*map(str, SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            "MODELGARDEN_ATTEMPT": self.attempt,
            "MODELGARDEN_LOG_FORMAT": "json",
            "MODELGARDEN_TERMINATION_LOG": str(self.folder / "termination"),
            "MODELGARDEN_WORKSPACE": str(self.folder / "workspace"),
            # Threads that wait for each other take longer for a tiny model than its sums do.
            "OMP_NUM_THREADS": "1",
            **self.variables,
        }

    def patch_worker(self, code: str) -> None:
        """Have the worker run some code before its own, as no argument of the trainer changes what it finds."""
        patches = self.folder / "patches"
        patches.mkdir()
        (patches / "sitecustomize.py").write_text(f"{_ONLY_THE_WORKER}{textwrap.indent(code, '    ')}\n")
        path = self.environment()["PYTHONPATH"]
        self.variables = {**self.variables, "PYTHONPATH": f"{patches}{os.pathsep}{path}"}


def lives(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def has_loaded(pid: int, library: str) -> bool:
    """Tell whether a process has a shared library in its memory."""
    return library in Path(f"/proc/{pid}/maps").read_text()


def printed_by(
    script: Path, argument: str, *, folder: Path, variables: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """Run a script in the trainer's environment; return the JSON in the last line that it prints."""
    process = TrainerProcess(trainer_python(), folder / "process", {}, attempt="probe", variables=variables)
    done = subprocess.run(
        [process.python, script, argument],
        env=process.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def make_rows(count: int = 300) -> list[dict[str, str]]:
    """Return rows that a tiny model can learn something of."""
    return [
        {"prompt": f"Say the number after {number}", "completion": str(number + 1)} for number in range(count)
    ]


def make_pairs(count: int) -> list[dict[str, Any]]:
    """Return pairs whose answers are of like length, so that a model that knows nothing prefers neither."""
    return [
        {"prompt": f"Which way from {number}", "chosen": f"up {number}", "rejected": f"no {number}"}
        for number in range(count)
    ]


def make_answers(count: int) -> list[dict[str, Any]]:
    """Return answers of which each second one is bad."""
    return [
        {
            "prompt": f"Which way from {number}",
            "completion": f"{'up' if number % 2 else 'no'} {number}",
            "label": bool(number % 2),
        }
        for number in range(count)
    ]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def make_config(
    *, run_uri: str, model: str, dataset: str, uid: str = "run-1", **fields: Any
) -> dict[str, Any]:
    """Return a RunConfig for the tiny model; keywords replace fields."""
    return {
        "run": {"namespace": "default", "name": "count", "uid": uid},
        "runUri": run_uri,
        "modelSource": model,
        "dataset": {"sources": [{"uri": dataset}]},
        "modelName": "count",
        "training": {
            "epochs": 2,
            "learningRate": 5e-3,
            "effectiveBatchSize": 32,
            "maxSequenceLength": 64,
            "lora": {"rank": 8, "alpha": 16},
        },
        "formats": ["Adapter", "Merged16Bit"],
        "checkpoint": {"everySteps": 20, "keep": 2},
        "evaluation": {"maxNewTokens": 8},
        "carbon": {"zone": "DEU", "pueMilli": 1200, "pueGiven": True},
    } | fields


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    trainer_python()
    llama_cpp()
    tiny_model()
    tiny_model("--plain")
    tiny_vision_model()
