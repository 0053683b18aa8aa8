"""The process of a reward as the trainer sees it: started with nothing of ours, asked with a limit, and ended.

It is a session of its own, so that what it starts ends with it. It ends with the thread that started it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import modelgarden_pod
import modelgarden_train
from modelgarden_train.rewards.completion import Completion

logger = logging.getLogger(__name__)

_COMMAND: Final = (sys.executable, "-P", "-s", "-m", "modelgarden_train.rewards.judge")
_SOURCES: Final = tuple(
    dict.fromkeys(
        str(Path(path).parent)
        for package in (modelgarden_pod, modelgarden_train)
        for path in package.__path__
    )
)
_END_SECONDS: Final = 5.0
_LAST_LINES: Final = 5
_LONGEST_LINE: Final = 300
"""Bytes of a line that it prints which are kept."""
_LONGEST_REPLY: Final = 16 * 1024**2


class Hung(Exception):  # noqa: N818 -- says what is so
    """It has not answered in time."""


class Died(Exception):  # noqa: N818
    """It has ended, or says what is no answer; the message says how."""


class JudgeProcess:
    """One process that judges by one reward."""

    def __init__(self, label: str, order: Mapping[str, Any]) -> None:
        """Start the process, which begins with its imports; `hear` what it says once it is ready."""
        self._folder = tempfile.TemporaryDirectory(prefix="reward-", ignore_cleanup_errors=True)
        self._socket, theirs = socket.socketpair()
        self._prints, printing = os.pipe()
        with theirs, open(printing, "wb") as output:
            self._process = subprocess.Popen(
                _COMMAND,
                cwd=self._folder.name,
                env=_environment(self._folder.name),
                stdin=theirs.fileno(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._unread = b""
        self._printed: deque[str] = deque(maxlen=_LAST_LINES)
        self._drain = threading.Thread(target=self._keep_printed, args=(label,), name=label, daemon=True)
        self._drain.start()
        with contextlib.suppress(Died, Hung):  # `hear` says how
            self._say(order, seconds=_END_SECONDS)

    @property
    def pid(self) -> int:
        """The process, and the group of all that it starts."""
        return self._process.pid

    def ask(self, completions: Sequence[Completion], *, seconds: float) -> Mapping[str, Any]:
        """Return what it says of completions.

        Raises:
            Hung: it says nothing for so long.
            Died: it has ended.
        """
        until = time.monotonic() + seconds
        given = [
            {"prompt": one.prompt, "text": one.text, "ids": list(one.ids), "answer": one.answer}
            for one in completions
        ]
        self._say({"completions": given}, seconds=seconds)
        return self.hear(seconds=until - time.monotonic())

    def hear(self, *, seconds: float) -> Mapping[str, Any]:
        """Return what it says next.

        Raises:
            Hung: it says nothing for so long.
            Died: it has ended, or says what is no answer.
        """
        until = time.monotonic() + seconds
        while b"\n" not in self._unread[-65536:]:
            self._unread += self._received(until)
            if len(self._unread) > _LONGEST_REPLY:
                raise Died("it answers without end")
        line, self._unread = self._unread.split(b"\n", 1)
        try:
            found = json.loads(line)
        except ValueError as error:
            raise Died("it says what is no answer") from error
        if not isinstance(found, dict):
            raise Died("it says what is no answer")
        return found

    def close(self) -> None:
        """End the process and what it has started."""
        self._socket.close()
        with contextlib.suppress(ProcessLookupError):  # nothing is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._drain.join(_END_SECONDS)
        self._folder.cleanup()

    def _say(self, told: Mapping[str, Any], *, seconds: float) -> None:
        self._socket.settimeout(seconds)
        try:
            self._socket.sendall(json.dumps(told).encode() + b"\n")
        except TimeoutError as error:
            raise Hung from error
        except OSError as error:
            raise Died(self._ending()) from error

    def _received(self, until: float) -> bytes:
        left = until - time.monotonic()
        if left <= 0:
            raise Hung
        self._socket.settimeout(left)
        try:
            received = self._socket.recv(65536)
        except TimeoutError as error:
            raise Hung from error
        except OSError as error:
            raise Died(self._ending()) from error
        if not received:
            raise Died(self._ending())
        return received

    def _ending(self) -> str:
        """Return how the process has ended, and what it printed last."""
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return "it has closed what it is asked over"
        self._drain.join(_END_SECONDS)
        return ended(code, self._printed)

    def _keep_printed(self, label: str) -> None:
        with open(self._prints, "rb") as printed:
            while line := printed.readline(_LONGEST_LINE):
                if text := line.decode(errors="replace").strip():
                    self._printed.append(text)
                    logger.info("A reward printed", extra={"reward": label, "line": text})


def ended(code: int, printed: Sequence[str]) -> str:
    """Return how a process has ended that should not have, in words. Pure."""
    if code == -signal.SIGKILL:
        how = "it was killed, as is done where the pod needs more memory"
    elif code < 0:
        how = f"it was ended by {signal.Signals(-code).name}"
    else:
        how = f"it ended with exit code {code}"
    return f"{how}; it printed last: {' | '.join(printed)}" if printed else how


def _environment(folder: str) -> dict[str, str]:
    """Return all that it knows of us: where its Python and its folder are."""
    return {
        "CUDA_VISIBLE_DEVICES": "",
        "HOME": folder,
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin")),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONIOENCODING": "utf-8:backslashreplace",
        "PYTHONPATH": os.pathsep.join(_SOURCES),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": folder,
    }
