"""The lock between commands: one holds it at a time, and whoever dies lets go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hack.cluster.daemons import stop_recorded, wait_until

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_SECONDS = 30.0
HOLDER = """
import pathlib, sys
from hack.cluster.daemons import Daemon
from hack.cluster.locks import machine_lock
with machine_lock(sys.argv[1]):
    if sys.argv[2:]:
        Daemon("child", pathlib.Path(sys.argv[2]), ("sleep", "600"), ready=lambda: True).start()
    print("acquired", flush=True)
    sys.stdin.read()
"""


class Command:
    """A process that takes a lock, says so and holds it until it is told to leave."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", HOLDER, *arguments],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )

    def says(self, words: str, within: float = DEADLINE_SECONDS) -> bool:
        """Tell whether it prints the words in time."""
        return wait_until(lambda: words in self._log.read_text(), within)

    def leave(self) -> None:
        """Have it release the lock."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def kill(self) -> None:
        """End it without a chance to release anything."""
        with self._process:
            self._process.send_signal(signal.SIGKILL)


Start = Callable[..., Command]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts commands, and ends them after the test."""
    started: list[Command] = []

    def command(*arguments: str) -> Command:
        started.append(Command(tmp_path / f"{len(started)}.log", *arguments))
        return started[-1]

    yield command
    for one in started:
        one.kill()


def test_the_second_waits_says_so_and_goes_on_when_the_first_leaves(start: Start) -> None:
    first = start("build")
    assert first.says("acquired")
    second = start("build")
    assert second.says("waiting for another command")
    assert not second.says("acquired", within=0.2)

    first.leave()

    assert second.says("acquired")


def test_a_holder_that_dies_frees_it(start: Start) -> None:
    first = start("build")
    assert first.says("acquired")
    second = start("build")
    assert second.says("waiting for another command")

    first.kill()

    assert second.says("acquired")


def test_a_daemon_that_outlives_its_holder_does_not_keep_it(start: Start, tmp_path: Path) -> None:
    first = start("cluster", str(tmp_path))
    try:
        assert first.says("acquired")
        first.kill()
        assert start("cluster").says("acquired")
    finally:
        stop_recorded(tmp_path / "pids" / "child.json", 10)


def test_locks_of_other_names_and_other_users_are_free(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    assert start("build").says("acquired")
    assert start("image").says("acquired")
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ["XDG_CACHE_HOME"] + "-of-another")
    assert start("build").says("acquired")
