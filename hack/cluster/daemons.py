"""Long-running programs: started detached with a log and a record of their pid, found again by any later command.

The record holds the process's start time and the boot, so that a pid that the kernel has given to another program since is
never signalled. Signals go through a pidfd, which names one process for good.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hack.cluster import notes
from hack.cluster.commands import tail, without_proxies
from hack.cluster.errors import ClusterError

POLL_SECONDS = 0.05

_children: dict[int, subprocess.Popen[bytes]] = {}
"""What this process started, by pid: kept until it has ended, so that it is collected and not left as a zombie."""


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Return true as soon as `condition` holds, false when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


@dataclass(frozen=True)
class Daemon:
    """One program of a cluster. `start` and `stop` may be called at any time and any number of times."""

    name: str
    folder: Path
    argv: tuple[str, ...]
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 60
    stop_seconds: float = 20
    dies_with_parent: bool = False

    @property
    def log(self) -> Path:
        return self.folder / "logs" / f"{self.name}.log"

    @property
    def _record(self) -> Path:
        return self.folder / "pids" / f"{self.name}.json"

    @property
    def pid(self) -> int | None:
        """The pid of the running process, None where it does not run."""
        return running_pid(self._record)

    @property
    def healthy(self) -> bool:
        """Whether it runs and answers its probe."""
        return self.pid is not None and self.ready()

    def start(self, *, wait: bool = True) -> None:
        """Start it unless it runs and wait until it is ready. Raises ClusterError with its last log lines."""
        if self.pid is None:
            self._launch()
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until it is ready. Raises ClusterError with its last log lines where it ends or takes too long."""
        if not wait_until(lambda: self.ready() or self.pid is None, self.start_seconds) or self.pid is None:
            what = "ended" if self.pid is None else f"is not ready after {self.start_seconds:.0f} s"
            raise ClusterError(f"{self.name} {what}; the end of {self.log}:\n{tail(self.log)}")

    def stop(self) -> None:
        """End it if it runs: SIGTERM, then SIGKILL after `stop_seconds`."""
        stop_recorded(self._record, self.stop_seconds)

    def _launch(self) -> None:
        for file in (self.log, self._record):
            file.parent.mkdir(parents=True, exist_ok=True)
        prefix = (
            ("setpriv", "--pdeathsig", "TERM") if self.dies_with_parent and shutil.which("setpriv") else ()
        )
        with self.log.open("a") as log:
            try:
                process = subprocess.Popen(
                    [*prefix, *self.argv],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**without_proxies(os.environ), **self.environment},
                    cwd=self.folder,
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                raise ClusterError(f"{self.argv[0]} is not installed on this machine") from error
        _children[process.pid] = process
        record = {"pid": process.pid, "started": _start_ticks(process.pid), "boot": _boot()}
        notes.write(self._record, record)


def running_pid(record: Path) -> int | None:
    """Return the pid that `record` names if that very process still runs."""
    known = notes.read(record)
    if known is None:
        return None
    _reap(known["pid"])
    same = (
        known["started"] is not None
        and known["boot"] == _boot()
        and known["started"] == _start_ticks(known["pid"])
    )
    return int(known["pid"]) if same else None


def stop_recorded(record: Path, seconds: float) -> None:
    """End the process that `record` names, if it still runs, and remove the record."""
    pid = running_pid(record)
    if pid is not None:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            handle = None
        if handle is not None:
            try:
                if (
                    running_pid(record) is not None
                ):  # still the recorded one, and the handle holds it from here on
                    _end(handle, seconds)
            finally:
                os.close(handle)
        _reap(pid)
    record.unlink(missing_ok=True)


def _end(handle: int, seconds: float) -> None:
    ended = select.poll()
    ended.register(handle, select.POLLIN)
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 10.0)):
        try:
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return
        if ended.poll(patience * 1000):
            return


def _start_ticks(pid: int) -> str | None:
    """Return the process's start in clock ticks since the boot, None for a process that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _reap(pid: int) -> None:
    """Collect the process where it is our child and has ended, else it would stay as a zombie."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        _children.pop(pid, None)
