"""The operator as a process: `python -m modelgarden`, its endpoints, its log, its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from hack.cluster import probes
from tests.integration.harness.waiting import CLOSE_POLL_SECONDS, wait_for

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Labels = frozenset[tuple[str, str]]
PROGRAM = ("-m", "modelgarden")


class OperatorProcess:
    """One replica of the operator. `start` and `stop` may be called again and again."""

    def __init__(
        self,
        kubeconfig: Path,
        log: Path,
        settings: Mapping[str, object] | None = None,
        *,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self.log = log
        self._program = program
        self.health_port, self.metrics_port = probes.free_ports(2)
        defaults: dict[str, object] = {
            "train_image": "modelgarden.dev/train:test",
            "serve_image": "modelgarden.dev/serve:test",
            "health_port": self.health_port,
            "metrics_port": self.metrics_port,
            "log_format": "text",
        }
        values = {**defaults, **(settings or {})}
        own = {f"MODELGARDEN_{name.upper()}": str(value) for name, value in values.items()}
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "MODELGARDEN_"))
            and not name.lower().endswith("_proxy")
            and name != "PYTHONDONTWRITEBYTECODE"  # each start would compile every module anew
        }
        self._environment = {**kept, "KUBECONFIG": str(kubeconfig), **own}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "the operator was not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, ready: bool = True, timeout: float = 60.0) -> None:
        """Start it, and wait until it is ready."""
        assert not self.running, "the operator runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._program], env=self._environment, stdout=log, stderr=log
            )
        if ready:
            wait_for(self._ready, timeout, what="the operator's readiness", longest_pause=CLOSE_POLL_SECONDS)

    def wait_until_leading(self, timeout: float = 60.0) -> None:
        """Wait until it works, and see that at once: what it does first is what tests of its end interrupt."""
        wait_for(
            lambda: self.running and self.leads(),
            timeout,
            what="the operator's leadership",
            longest_pause=CLOSE_POLL_SECONDS,
        )

    def wait_until_idle(self, reconciles: int) -> None:
        """Wait until it has done so many reconciles and no resource waits for one."""
        wait_for(
            lambda: (
                self.metric("modelgarden_reconcile_seconds_count") >= reconciles
                and self.metric("modelgarden_queue_depth") == 0
                and self.metric("modelgarden_reconciles_running") == 0
            ),
            what=f"{reconciles} reconciles",
        )

    def stop(self, timeout: float = 20.0) -> int:
        """Send SIGTERM; return the exit status."""
        return self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._end(signal.SIGKILL, 10.0)

    def wait(self, timeout: float = 60.0) -> int:
        """Wait until it has ended by itself; return the exit status."""
        assert self._process is not None, "the operator was not started"
        return self._process.wait(timeout)

    def pause(self) -> None:
        """Send SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def health(self) -> tuple[int, str]:
        """Return status and text of /healthz; status 0 while it does not answer."""
        return _get(f"http://127.0.0.1:{self.health_port}/healthz")

    def leads(self) -> bool:
        """Tell whether it holds the Lease and works."""
        return self.metric("modelgarden_is_leader") == 1.0

    def metrics(self) -> dict[tuple[str, Labels], float]:
        """Return all samples; none while it does not answer."""
        _, text = _get(f"http://127.0.0.1:{self.metrics_port}/metrics")
        found: dict[tuple[str, Labels], float] = {}
        for line in text.splitlines():
            sample = _SAMPLE.match(line)
            if sample:
                labels = frozenset(_LABEL.findall(sample["labels"] or ""))
                found[sample["name"], labels] = float(sample["value"])
        return found

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that carry the labels."""
        wanted = set(labels.items())
        return sum(value for (found, has), value in self.metrics().items() if found == name and wanted <= has)

    def writes(self) -> dict[str, int]:
        """Return the writes by kind and verb, without those of the Lease."""
        found = {}
        for (name, labels), value in self.metrics().items():
            by = dict(labels)
            if name == "modelgarden_writes_total" and by["kind"] != "Lease":
                found[f"{by['kind']}/{by['verb']}"] = int(value)
        return found

    def tail(self, lines: int = 60) -> str:
        """Return the end of its log."""
        return (
            "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""
        )

    def _ready(self) -> bool:
        assert self.running, f"the operator has ended:\n{self.tail(20)}"
        return _get(f"http://127.0.0.1:{self.health_port}/readyz")[0] == 200

    def _end(self, number: int, timeout: float) -> int:
        if self._process is None:
            return 0
        if self.running:
            self._process.send_signal(number)
        return self._process.wait(timeout)


def _get(url: str) -> tuple[int, str]:
    try:
        with _opener.open(url, timeout=5) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""
