"""The supervisor over a stand-in for vLLM, as processes: ready, drained, refused, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import pytest

from hack.cluster.probes import free_ports
from modelgarden.api.documents import OPERATOR
from modelgarden.api.pods import EngineReport, ServeConfig, ServeReport, TerminationMessage
from modelgarden_pod.errors import PodError, Terminated, UserError
from modelgarden_pod.http import serve_routes
from modelgarden_serve.draining import Drain
from modelgarden_serve.ledger import Ledger
from modelgarden_serve.supervise import Supervisor, Timings
from modelgarden_serve.vllm_api import Tokens, VllmApi
from tests.unit.serve.test_ledger import Meter

STAND_IN = Path(__file__).with_name("stand_in.py")
QUICK = Timings(propagation=0.3, margin=1.0, farewell=0.2, sample=0.1, poll=0.02)

T = TypeVar("T")


def wait_for(condition: Callable[[], T], seconds: float = 20.0) -> T:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)
    return found


class Pod:
    """A supervisor with its stand-in and its own port."""

    def __init__(self, folder: Path, timings: Timings = QUICK) -> None:
        self.vllm_port, port = free_ports(2)
        api = VllmApi(port=self.vllm_port, timeout=1.0)
        config = ServeConfig(
            model_uri="file:///model", served_model_name="bot", model_dir="/model", drain_seconds=5
        )
        self.meter = Meter()
        ledger = Ledger(self.meter, api.tokens, attempt="pod", file=folder / "carbon.json")
        self.drain = Drain(folder / "drain")
        self.supervisor = Supervisor(config, api=api, ledger=ledger, drain=self.drain, timings=timings)
        self.server = serve_routes(self.supervisor.routes(), port=port, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{port}"
        self._pool = ThreadPoolExecutor(max_workers=1)

    def start(self, *flags: str) -> Future[TerminationMessage]:
        command = [sys.executable, str(STAND_IN), str(self.vllm_port), *flags]
        return self._pool.submit(self.supervisor.run, command, os.environ)

    def status(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=5) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def engine(self) -> EngineReport:
        with urllib.request.urlopen(f"{self.url}/engine", timeout=5) as answer:  # noqa: S310
            return EngineReport.read(answer.read(), reader=OPERATOR)

    def under_way(self) -> int:
        """Return how many slow requests vLLM works on."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.vllm_port}/under-way", timeout=5) as answer:
            return int(answer.read())

    def carbon(self) -> ServeReport:
        with urllib.request.urlopen(f"{self.url}/carbon", timeout=5) as answer:  # noqa: S310
            return ServeReport.model_validate_json(answer.read())

    def close(self) -> None:
        self.supervisor.stop()
        self.server.shutdown()
        self.server.server_close()
        self._pool.shutdown()


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    one = Pod(tmp_path)
    yield one
    one.close()


def ready(pod: Pod) -> None:
    wait_for(lambda: pod.status("/readyz") == 200)


def test_it_is_ready_when_the_wanted_model_answers(pod: Pod) -> None:
    assert pod.status("/readyz") == pod.status("/healthz") == 503

    pod.start()

    ready(pod)
    assert pod.status("/healthz") == 200


def test_another_model_makes_it_not_ready_and_is_named(pod: Pod) -> None:
    pod.start("--model=another")
    wait_for(lambda: pod.engine().named is not None)

    assert pod.status("/healthz") == 200
    assert pod.status("/readyz") == 503
    assert pod.engine() == EngineReport(attempt="pod", awaited="bot", named=("another",))
    assert not pod.supervisor._was_ready


def test_what_is_no_list_of_models_is_no_answer(pod: Pod) -> None:
    pod.start("--models=nonsense")
    wait_for(lambda: pod.status("/healthz") == 200)

    assert pod.status("/readyz") == 503
    assert pod.engine().named is None


def test_the_engine_is_told_of_before_it_answers_and_before_metering_begins(pod: Pod) -> None:
    assert pod.engine() == EngineReport(attempt="pod", awaited="bot")

    pod.start()
    ready(pod)

    assert pod.engine().named == ("bot",)


def test_many_or_long_names_are_told_in_part(pod: Pod) -> None:
    pod.start(f"--model={'n' * 5000}", "--copies=100")
    wait_for(lambda: pod.engine().named is not None)

    named = pod.engine().named
    assert named is not None
    assert (len(named), {len(name) for name in named}) == (8, {128})


def test_a_request_that_is_under_way_ends_before_vllm_does(pod: Pod) -> None:
    running = pod.start("--drain=1.5")
    ready(pod)
    answers: list[bytes] = []

    def ask() -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{pod.vllm_port}/slow", timeout=10) as answer:
            answers.append(answer.read())

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(lambda: pod.under_way() == 1)
    pod.supervisor.stop()

    assert pod.status("/readyz") == 503
    assert pod.status("/healthz") == 200
    assert running.result(20).message.startswith("drained in")
    asking.join()
    assert answers == [b"done"]


def test_sigterm_may_come_between_any_two_lines_of_the_watch(pod: Pod) -> None:
    """Its handler runs in the thread that watches, whatever lock that holds."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        for line in range(1, 60):
            watch = threading.Thread(
                target=_watch_with_sigterm, args=(pod.supervisor, process, line), daemon=True
            )
            watch.start()
            watch.join(5)
            assert not watch.is_alive(), f"SIGTERM at line {line} stops the pod for ever"
        process.communicate(b"\n")


def _watch_with_sigterm(supervisor: Supervisor, process: subprocess.Popen[bytes], at: int) -> None:
    one = Supervisor(
        supervisor._config,
        api=supervisor._api,
        ledger=supervisor._ledger,
        drain=supervisor._draining,
        timings=replace(QUICK, poll=0.001),
    )
    one._was_ready = True
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        if lines == at:
            one.stop()
        return trace

    sys.settrace(trace)
    one._watch(process)


def test_requests_still_arrive_until_every_service_knows(tmp_path: Path) -> None:
    pod = Pod(tmp_path, replace(QUICK, propagation=3.0))
    running = pod.start()
    ready(pod)

    pod.supervisor.stop()

    assert pod.status("/readyz") == 503
    with urllib.request.urlopen(f"http://127.0.0.1:{pod.vllm_port}/slow", timeout=5) as answer:
        assert answer.status == 200
    running.result(20)
    pod.close()


def test_the_last_figures_are_held_ready_and_kept(tmp_path: Path) -> None:
    pod = Pod(tmp_path, replace(QUICK, farewell=10.0))
    running = pod.start()
    ready(pod)
    pod.supervisor.metering_began()
    pod.meter.joules = 70
    wait_for(lambda: pod.carbon().generated_tokens == 3)
    pod.meter.joules = 90
    pod.supervisor.stop()
    asked = time.monotonic()
    last = pod.carbon()
    while not running.done():
        last = pod.carbon()

    assert running.result().reason == "Serving"
    assert time.monotonic() - asked < 5, "it ends once its last report was read, not after the whole farewell"
    assert (last.emissions.energy_joules.total, last.idle_joules) == (90, 20)
    kept = ServeReport.model_validate_json((tmp_path / "carbon.json").read_text())
    assert kept.idle_joules == 20
    pod.close()


def test_the_pod_waits_until_its_last_report_was_sent(tmp_path: Path) -> None:
    pod = Pod(tmp_path, replace(QUICK, farewell=20.0))
    running = pod.start()
    ready(pod)
    pod.supervisor.metering_began()
    pod.supervisor.stop()
    wait_for(pod.supervisor._ended.is_set)

    answer = pod.supervisor.routes()["/carbon"]()

    assert answer.status == 200
    with pytest.raises(TimeoutError):
        running.result(0.5)
    pod.carbon()
    assert running.result(10).reason == "Serving"
    pod.close()


def test_figures_that_cannot_be_kept_do_not_make_a_clean_end_a_failure(tmp_path: Path) -> None:
    pod = Pod(tmp_path, replace(QUICK, farewell=20.0))
    running = pod.start()
    ready(pod)
    (tmp_path / "carbon.partial").mkdir()  # as a full disk, nothing can be written
    pod.supervisor.metering_began()
    pod.supervisor.stop()
    wait_for(pod.supervisor._ended.is_set)

    assert pod.carbon().attempt == "pod"
    assert running.result(10).reason == "Serving"
    pod.close()


def test_counters_that_cannot_be_read_once_are_read_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[str | Tokens] = ["not a number", Tokens(generated=3, prompt=2)]

    def tokens(_: VllmApi) -> Tokens:
        one = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(one, str):
            raise ValueError(one)
        return one

    monkeypatch.setattr(VllmApi, "tokens", tokens)
    pod = Pod(tmp_path)
    pod.start()
    pod.supervisor.metering_began()

    wait_for(lambda: pod.carbon().generated_tokens == 3)
    pod.close()


def test_there_is_no_report_before_metering_begins(pod: Pod) -> None:
    assert pod.status("/carbon") == 503


def test_arguments_that_vllm_refuses_are_the_users_error(pod: Pod) -> None:
    with pytest.raises(UserError, match="refuses its arguments: ValueError: no such model"):
        pod.start("--fail=2").result(20)


def test_vllms_end_is_the_pods_end(pod: Pod) -> None:
    with pytest.raises(PodError) as caught:
        pod.start("--fail=1").result(20)

    assert (caught.value.reason, caught.value.exit_code) == ("PodsFailing", 1)
    assert (
        caught.value.message == "vLLM ended with exit code 1 before it was ready: ValueError: no such model"
    )


def test_a_vllm_that_is_killed_while_it_serves_says_so(pod: Pod) -> None:
    running = pod.start()
    ready(pod)
    wait_for(lambda: pod.supervisor._was_ready)
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _is(entry, pod)]

    os.kill(pids[0], signal.SIGKILL)

    with pytest.raises(PodError, match="ended by SIGKILL while it served; it may have run out of memory"):
        running.result(20)


def test_a_vllm_that_does_not_drain_is_killed(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    pod.supervisor._config = pod.supervisor._config.model_copy(update={"drain_seconds": 0})
    running = pod.start("--ignore-sigterm")
    ready(pod)

    pod.supervisor.stop()

    with pytest.raises(Terminated, match="was killed"):
        running.result(20)
    pod.close()


def _is(entry: Path, pod: Pod) -> bool:
    try:
        words = (entry / "cmdline").read_bytes().decode().split("\0")
    except OSError:
        return False
    return str(STAND_IN) in words and str(pod.vllm_port) in words
