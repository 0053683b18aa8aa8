"""`serve`: run vLLM, answer for it on the pod's own port, drain it on SIGTERM, and account for its energy.

vLLM's end is the pod's end. On SIGTERM the pod first says that it is not ready and waits until no new request is sent
to it, while answers close their connections; then vLLM finishes those under way and refuses others; then the last energy
sample is kept for the operator to read.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from modelgarden.api.messages import clean
from modelgarden.api.pods import EngineReport, ServeConfig, ServeReport, TerminationMessage
from modelgarden.api.redaction import redacted
from modelgarden_pod.errors import PodError, Terminated, UserError
from modelgarden_pod.http import Answer, Route, json_route, metrics_route, ready_route, serve_routes
from modelgarden_serve.draining import Drain
from modelgarden_serve.engine import failure_of
from modelgarden_serve.ledger import Ledger, metrics_registry
from modelgarden_serve.vllm_api import VllmApi

logger = logging.getLogger(__name__)

_ARGUMENT_ERROR = 2
"""What argparse ends with: the arguments can never work."""
_KEPT_LINES = 200
_MESSAGE_LENGTH = 1500
_TOLD_NAMES = 8
_NAME_BYTES = 128


@dataclass(frozen=True)
class Timings:
    """How long the steps of a pod's end take at most, in seconds."""

    propagation: float = 5.0
    """From not being ready until no Service sends requests any more."""
    margin: float = 5.0
    """What vLLM may take beyond its drain."""
    farewell: float = 6.0
    """How long the last report is held ready; the operator asks a pod that ends every 5 s."""
    sample: float = 5.0
    poll: float = 0.2


class Supervisor:
    """One vLLM process, from its start to its end."""

    def __init__(
        self,
        config: ServeConfig,
        *,
        api: VllmApi,
        ledger: Ledger,
        drain: Drain,
        timings: Timings = Timings(),
    ) -> None:
        self._config = config
        self._api = api
        self._draining = drain
        self._ledger = ledger
        self._timings = timings
        # No Event: its lock may be held by the very thread that a signal handler interrupts.
        self._stopping = False
        self._metering = threading.Event()
        self._ended = threading.Event()
        self._told_the_end = threading.Event()
        self._was_ready = False
        self._named: tuple[str, ...] | None = None
        self._output: deque[str] = deque(maxlen=_KEPT_LINES)

    def stop(self) -> None:
        """Ask for the end, as SIGTERM does; a signal handler may call this."""
        self._stopping = True

    def metering_began(self) -> None:
        """Say that the meter runs, so that reports mean something."""
        self._metering.set()

    def routes(self) -> Mapping[str, Route]:
        """Return what the pod answers on its own port."""
        return {
            "/readyz": ready_route(self._ready),
            "/healthz": ready_route(self._healthy),
            "/engine": json_route(self._engine),
            "/carbon": self._carbon,
            "/metrics": metrics_route(metrics_registry(self._report)),
        }

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> TerminationMessage:
        """Run vLLM until it ends or is asked to.

        Raises:
            UserError: vLLM refuses its arguments.
            PodError: vLLM ended by itself.
            Terminated: it had to be killed, because it did not drain in time.
        """
        logger.info("Starting vLLM", extra={"command": list(command)})
        self._draining.prepare()
        with subprocess.Popen(
            command,
            env={**environment, **self._draining.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            reader = threading.Thread(target=self._forward, args=(process.stdout,), daemon=True)
            reader.start()
            threading.Thread(target=self._sample_regularly, daemon=True).start()
            try:
                self._watch(process)
                if process.poll() is not None:
                    reader.join(timeout=2.0)
                    raise self._failure(process.returncode)
                return self._drain(process)
            finally:
                _kill(process)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None and not self._stopping:
            if not self._was_ready:
                self._serves()
            time.sleep(self._timings.poll)

    def _drain(self, process: subprocess.Popen[bytes]) -> TerminationMessage:
        logger.info("Draining", extra={"seconds": self._config.drain_seconds})
        self._draining.leave()
        if self._was_ready:
            _wait(process, self._timings.propagation)
        self._draining.refuse()
        began = time.monotonic()
        until = began + self._config.drain_seconds
        self._finish_requests(process, until)
        process.send_signal(signal.SIGTERM)
        in_time = _wait(process, until + self._timings.margin - time.monotonic())
        seconds = time.monotonic() - began
        _kill(process)
        self._say_farewell()
        if not in_time:
            raise Terminated(
                f"vLLM did not finish its requests and end within {seconds:.0f} s and was killed"
            )
        logger.info("Drained", extra={"seconds": round(seconds, 1), "exitCode": process.returncode})
        return TerminationMessage(reason="Serving", message=f"drained in {seconds:.1f} s and stopped")

    def _finish_requests(self, process: subprocess.Popen[bytes], until: float) -> None:
        """Wait until no request is under way; from SIGTERM on vLLM would refuse one that it has not yet read."""
        while process.poll() is None and time.monotonic() < until and self._api.under_way():
            time.sleep(self._timings.poll)

    def _say_farewell(self) -> None:
        """Keep the final figures, and give the operator the time to read them."""
        self._ledger.close()
        self._ended.set()
        if self._metering.is_set():
            try:
                self._ledger.save("Terminated")
            except OSError:
                logger.exception("The last energy figures cannot be kept")
            self._told_the_end.wait(self._timings.farewell)

    def _failure(self, exit_code: int) -> PodError:
        line = clean(failure_of(list(self._output)), length=_MESSAGE_LENGTH)
        if exit_code == _ARGUMENT_ERROR:
            return UserError("InvalidConfiguration", f"vLLM refuses its arguments: {line}")
        when = "while it served" if self._was_ready else "before it was ready"
        if exit_code < 0:
            name = signal.Signals(-exit_code).name
            hint = "; it may have run out of memory" if -exit_code == signal.SIGKILL else ""
            return PodError("PodsFailing", f"vLLM was ended by {name} {when}{hint}: {line}")
        return PodError("PodsFailing", f"vLLM ended with exit code {exit_code} {when}: {line}")

    def _ready(self) -> bool:
        return not self._stopping and self._serves()

    def _serves(self) -> bool:
        """Ask vLLM for the wanted model, and note the first yes: whoever heard it may send requests from then on."""
        self._named = self._api.models()
        serves = self._named is not None and self._config.served_model_name in self._named
        if serves and not self._was_ready:
            self._was_ready = True
            logger.info("Ready", extra={"model": self._config.served_model_name})
        return serves

    def _healthy(self) -> bool:
        # While it drains, a probe must not have the container killed.
        return self._stopping or self._api.healthy()

    def _engine(self) -> EngineReport:
        """Tell what vLLM said last: an engine that hangs must not keep the question waiting."""
        named = self._named
        return EngineReport(
            attempt=self._ledger.attempt,
            awaited=self._config.served_model_name,
            named=named and tuple(clean(name, length=_NAME_BYTES) for name in named[:_TOLD_NAMES]),
        )

    def _carbon(self) -> Answer:
        ended = self._ended.is_set()
        report = self._report()
        if report is None:
            return Answer(b"metering has not begun\n", status=503)
        answer = json_route(lambda: report)()
        return replace(answer, sent=self._told_the_end.set) if ended else answer

    def _report(self) -> ServeReport | None:
        if not self._metering.is_set():
            return None
        return self._ledger.report("Terminated" if self._ended.is_set() else "Running")

    def _sample_regularly(self) -> None:
        while not self._ended.wait(1.0 if self._stopping else self._timings.sample):
            if self._metering.is_set():
                for step in (self._ledger.sample, self._ledger.save):
                    try:
                        step()
                    except Exception:
                        logger.exception("Energy figures cannot be brought up to date for now")

    def _forward(self, output: IO[bytes]) -> None:
        for line in output:
            told = redacted(line.decode(errors="replace"))
            sys.stderr.buffer.write(told.encode(errors="replace"))
            sys.stderr.buffer.flush()
            self._output.append(told)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for the end of a process; say whether it came in time."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End what is left of vLLM and its workers."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def serve(config: ServeConfig, *, workspace: Path, port: int, attempt: str) -> TerminationMessage:
    """Run the configured model until SIGTERM.

    Raises:
        PodError: vLLM refused, failed or did not end.
    """
    from modelgarden_pod.energy import EnergyMeter
    from modelgarden_serve.engine import available_memory, command, environment, installed_build

    build = installed_build()
    words = command(config, build=build, memory=available_memory())
    meter = EnergyMeter(config.carbon, attempt=attempt, gpus=config.gpus)
    api = VllmApi()
    ledger = Ledger(meter, api.tokens, attempt=attempt, file=workspace / "carbon.json")
    supervisor = Supervisor(config, api=api, ledger=ledger, drain=Drain(workspace / "drain"))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: supervisor.stop())
    serve_routes(supervisor.routes(), port=port)

    def begin_metering() -> None:
        meter.start()
        supervisor.metering_began()

    threading.Thread(target=begin_metering, daemon=True).start()
    try:
        return supervisor.run(words, environment(workspace, build=build))
    finally:
        meter.stop()
