"""Daemons: started once, found again by their record, ended for certain, never mistaken for another process."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hack.cluster.daemons import Daemon, wait_until
from hack.cluster.errors import ClusterError

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_SECONDS = 30.0

LIVES = "import signal; open('runs', 'a').write('run '); open('ready', 'w').close(); signal.pause()"
SAYS_GOODBYE = (
    "import signal, sys\n"
    "def end(*_):\n    open('goodbye', 'w').close()\n    sys.exit()\n"
    "signal.signal(signal.SIGTERM, end)\n" + LIVES
)
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + LIVES

MakeDaemon = Callable[..., Daemon]


class Witness:
    """Holds on to one process for good, whatever becomes of its pid."""

    def __init__(self, pid: int) -> None:
        self._handle = os.pidfd_open(pid)

    def ended(self, within: float = 0.0) -> bool:
        """Tell whether the process has ended."""
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(within * 1000))

    def close(self) -> None:
        """End the process if it runs."""
        if not self.ended():
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        os.close(self._handle)


@pytest.fixture
def witness() -> Iterator[Callable[[Daemon], Witness]]:
    """Watches a daemon's process and ends it after the test, even where the daemon no longer knows it."""
    watched: list[Witness] = []

    def watch(daemon: Daemon) -> Witness:
        assert daemon.pid is not None
        watched.append(Witness(daemon.pid))
        return watched[-1]

    yield watch
    for one in watched:
        one.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeDaemon]:
    """Makes daemons of Python source, ready once their program has left the file `ready`, and stops them after the test."""
    made: list[Daemon] = []

    def daemon(source: str = LIVES, **options: Any) -> Daemon:
        argv = options.pop("argv", (sys.executable, "-I", "-c", source))
        ready = options.pop("ready", lambda: (tmp_path / "ready").exists())
        made.append(Daemon("program", tmp_path, argv, ready=ready, **options))
        return made[-1]

    yield daemon
    for one in made:
        one.stop()


def record_of(daemon: Daemon) -> Path:
    """Return the file that other commands find the daemon by."""
    return daemon.folder / "pids" / "program.json"


def runs(daemon: Daemon) -> int:
    """Return how often the program was started."""
    return len((daemon.folder / "runs").read_text().split())


def test_it_is_ready_after_start_and_gone_after_stop(make: MakeDaemon) -> None:
    daemon = make()
    assert (daemon.pid, daemon.healthy) == (None, False)
    daemon.start()
    assert daemon.healthy
    daemon.stop()
    assert (daemon.pid, daemon.healthy) == (None, False)


def test_starting_and_stopping_again_changes_nothing(make: MakeDaemon) -> None:
    daemon = make()
    daemon.stop()
    daemon.start()
    before = daemon.pid
    daemon.start()
    assert (daemon.pid, runs(daemon)) == (before, 1)
    daemon.stop()
    daemon.stop()
    daemon.start()
    assert wait_until(lambda: runs(daemon) == 2, DEADLINE_SECONDS)


def test_what_it_prints_is_in_its_log(make: MakeDaemon) -> None:
    daemon = make(
        f"import sys; print('hello', flush=True); sys.stderr.write('alas'); sys.stderr.flush(); {LIVES}"
    )
    daemon.start()
    assert "hello\nalas" in daemon.log.read_text()


def test_it_gets_its_own_environment_and_no_proxy(make: MakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "localhost")
    daemon = make(f"import os; print(dict(os.environ), flush=True); {LIVES}", environment={"COLOUR": "green"})
    daemon.start()
    printed = daemon.log.read_text()
    assert "'COLOUR': 'green'" in printed
    assert "https_proxy" not in printed
    assert "NO_PROXY" not in printed


def test_a_second_object_finds_what_the_first_has_started(make: MakeDaemon) -> None:
    first, second = make(), make()
    first.start()
    second.start()
    assert second.pid == first.pid
    assert runs(first) == 1


def test_another_command_finds_it_and_ends_it(
    make: MakeDaemon, witness: Callable[[Daemon], Witness], tmp_path: Path
) -> None:
    daemon = make()
    daemon.start()
    process, pid = witness(daemon), daemon.pid
    command = (
        "import sys, pathlib; from hack.cluster.daemons import Daemon; "
        "daemon = Daemon('program', pathlib.Path(sys.argv[1]), ('false',), ready=lambda: True); "
        "daemon.start(); print(daemon.pid); daemon.stop()"
    )
    told = subprocess.run(
        [sys.executable, "-c", command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == str(pid)
    assert process.ended()
    assert daemon.pid is None


def test_stop_lets_the_program_end_by_itself(
    make: MakeDaemon, witness: Callable[[Daemon], Witness], tmp_path: Path
) -> None:
    daemon = make(SAYS_GOODBYE, stop_seconds=DEADLINE_SECONDS)
    daemon.start()
    process = witness(daemon)
    daemon.stop()
    assert process.ended()
    assert (tmp_path / "goodbye").exists()


def test_stop_kills_what_does_not_end_in_time(make: MakeDaemon, witness: Callable[[Daemon], Witness]) -> None:
    daemon = make(STUBBORN, stop_seconds=0.2)
    daemon.start()
    process = witness(daemon)
    daemon.stop()
    assert process.ended(within=DEADLINE_SECONDS)
    assert daemon.pid is None


@pytest.mark.parametrize(
    "change",
    [{"started": "1"}, {"boot": "00000000-0000-0000-0000-000000000000"}],
    ids=["the pid was given to another since", "the machine was started again since"],
)
def test_a_process_that_the_record_does_not_mean_is_left_alone(
    make: MakeDaemon, witness: Callable[[Daemon], Witness], tmp_path: Path, change: dict[str, str]
) -> None:
    daemon = make(stop_seconds=0.2)
    daemon.start()
    stranger, pid = witness(daemon), daemon.pid
    (tmp_path / "ready").unlink()
    record = record_of(daemon)
    record.write_text(json.dumps({**json.loads(record.read_text()), **change}))

    assert daemon.pid is None
    daemon.start()
    assert daemon.pid != pid
    witness(daemon)
    record.write_text(json.dumps({**json.loads(record.read_text()), "pid": pid, **change}))
    daemon.stop()

    assert not stranger.ended(within=0.2)
    assert not record.exists()


@pytest.mark.parametrize("text", ["", '{"pid": 1'], ids=["empty", "cut off"])
def test_a_record_that_was_cut_off_counts_as_none(make: MakeDaemon, text: str) -> None:
    daemon = make()
    record_of(daemon).parent.mkdir(parents=True)
    record_of(daemon).write_text(text)
    assert daemon.pid is None
    daemon.start()
    assert daemon.healthy


def test_a_program_that_ends_at_once_is_told_with_its_last_lines(make: MakeDaemon) -> None:
    daemon = make(
        "for n in range(50): print(f'line {n}.')\nraise SystemExit(3)", start_seconds=DEADLINE_SECONDS
    )
    with pytest.raises(
        ClusterError, match=rf"program ended; the end of {re.escape(str(daemon.log))}"
    ) as told:
        daemon.start()
    assert "line 49." in str(told.value)
    assert "line 5." not in str(told.value)
    assert daemon.pid is None


def test_a_program_that_is_never_ready_is_told_with_its_last_lines(make: MakeDaemon) -> None:
    daemon = make(f"print('port is in use', flush=True); {LIVES}", ready=lambda: False, start_seconds=1)
    with pytest.raises(ClusterError, match=r"is not ready after 1 s(.|\n)*port is in use"):
        daemon.start()


def test_readiness_of_somebody_else_does_not_count(make: MakeDaemon) -> None:
    """Another program on the daemon's port answers its probe."""
    daemon = make("raise SystemExit('port is in use')", ready=lambda: True)
    daemon.start(wait=False)
    assert wait_until(lambda: daemon.pid is None, DEADLINE_SECONDS)
    assert not daemon.healthy
    with pytest.raises(ClusterError, match="port is in use"):
        daemon.wait_ready()


def test_a_program_that_is_not_installed_is_told(make: MakeDaemon, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="absent is not installed"):
        make(argv=(str(tmp_path / "absent"),)).start()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux")
def test_it_ends_with_its_parent_where_asked(
    make: MakeDaemon, witness: Callable[[Daemon], Witness], tmp_path: Path
) -> None:
    command = (
        "import sys, pathlib; from hack.cluster.daemons import Daemon; folder = pathlib.Path(sys.argv[1]); "
        "Daemon('program', folder, (sys.executable, '-I', '-c', sys.argv[2]), dies_with_parent=True,"
        " ready=(folder / 'ready').exists).start(); print('ready', flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", command, str(tmp_path), LIVES],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        process = witness(make())
        parent.kill()
    assert process.ended(within=DEADLINE_SECONDS)
