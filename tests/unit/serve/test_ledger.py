"""Energy and tokens of a serving pod over time and over its containers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from modelgarden.api.emissions import EmissionsRecord, Energy
from modelgarden_serve.ledger import Ledger, metrics_registry
from modelgarden_serve.vllm_api import Tokens, read_tokens
from tests.unit.serving.builders import report


class Meter:
    """A meter that shows what it is told to."""

    def __init__(self) -> None:
        self.joules = 0

    def energy(self) -> Energy:
        return Energy.of(cpu=self.joules)

    def record(self, reason: str = "Running") -> EmissionsRecord:
        return report("pod", joules=self.joules).emissions


class Pod:
    """A ledger with its meter and vLLM's counters."""

    def __init__(self, file: Path, attempt: str = "pod") -> None:
        self.meter = Meter()
        self.tokens: Tokens | None = Tokens()
        self.ledger = Ledger(self.meter, lambda: self.tokens, attempt=attempt, file=file)

    def sample(self, joules: int, tokens: Tokens | None) -> None:
        self.meter.joules, self.tokens = joules, tokens
        self.ledger.sample()

    @property
    def idle(self) -> int:
        return self.ledger.report().idle_joules


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "carbon.json"


def test_energy_without_new_tokens_is_idle(file: Path) -> None:
    pod = Pod(file)
    pod.sample(100, Tokens(0, 0))
    pod.sample(250, Tokens(10, 5))
    pod.sample(300, Tokens(10, 5))

    told = pod.ledger.report()

    assert (told.idle_joules, told.generated_tokens, told.prompt_tokens) == (150, 10, 5)
    assert told.emissions.energy_joules.total == 300


def test_prompt_tokens_alone_are_no_generation(file: Path) -> None:
    pod = Pod(file)
    pod.sample(100, Tokens(0, 50))

    assert pod.idle == 100


def test_an_interval_stays_open_while_vllm_does_not_answer(file: Path) -> None:
    pod = Pod(file)
    pod.sample(100, Tokens(0, 0))
    pod.sample(200, None)
    pod.sample(300, Tokens(1, 1))

    assert pod.idle == 100


def test_loading_is_idle(file: Path) -> None:
    pod = Pod(file)
    pod.sample(100, None)
    pod.sample(200, None)
    pod.sample(300, Tokens(5, 5))

    assert pod.idle == 200


def test_what_is_open_at_the_end_was_idle(file: Path) -> None:
    pod = Pod(file)
    pod.sample(100, Tokens(1, 1))
    pod.sample(140, None)
    pod.ledger.close()

    assert pod.idle == 40


def test_another_container_of_the_pod_goes_on_counting(file: Path) -> None:
    first = Pod(file)
    first.sample(100, Tokens(0, 0))
    first.sample(150, Tokens(7, 3))
    first.ledger.save()
    second = Pod(file)
    second.sample(20, Tokens(0, 0))
    second.sample(50, Tokens(2, 1))

    told = second.ledger.report()

    assert (told.idle_joules, told.generated_tokens, told.prompt_tokens) == (120, 9, 4)
    assert told.emissions.energy_joules.total == 200
    assert [one.energy_joules.total for one in told.emissions.attempts] == [200]


@pytest.mark.parametrize("content", [None, "cut of", '{"attempt": "pod"}'])
def test_figures_that_cannot_be_read_are_left_out(file: Path, content: str | None) -> None:
    if content is not None:
        file.write_text(content)
    pod = Pod(file)
    pod.sample(10, Tokens(1, 1))

    assert pod.ledger.report().generated_tokens == 1


def test_two_threads_that_save_at_once_do_not_disturb_each_other(file: Path) -> None:
    """The sampler and the farewell, as the pod ends."""
    pod = Pod(file)

    with ThreadPoolExecutor(max_workers=4) as pool:
        for saved in [pool.submit(pod.ledger.save) for _ in range(400)]:
            saved.result()

    assert Pod(file).ledger.report().emissions.attempts


def test_figures_of_another_pod_are_left_out(file: Path) -> None:
    first = Pod(file)
    first.sample(100, Tokens(7, 3))
    first.ledger.save()

    assert Pod(file, attempt="other").ledger.report().generated_tokens == 0


def test_the_metrics(file: Path) -> None:
    pod = Pod(file)
    pod.sample(100, Tokens(0, 0))
    pod.sample(150, Tokens(7, 3))

    text = generate_latest(metrics_registry(pod.ledger.report)).decode()

    assert 'modelgarden_serve_energy_joules_total{component="cpu"} 150.0' in text
    assert "modelgarden_serve_idle_energy_joules_total 100.0" in text
    assert "modelgarden_serve_generated_tokens_total 7.0" in text


def test_there_are_no_metrics_before_metering_begins() -> None:
    assert generate_latest(metrics_registry(lambda: None)) == b""


def test_tokens_are_summed_over_engines() -> None:
    text = (
        "# HELP vllm:generation_tokens_total Number of generation tokens processed.\n"
        'vllm:generation_tokens_total{engine="0",model_name="bot"} 10.0\n'
        'vllm:generation_tokens_total{engine="1",model_name="bot"} 5.0\n'
        'vllm:generation_tokens_created{engine="0",model_name="bot"} 1.7e+09\n'
        'vllm:prompt_tokens_total{engine="0",model_name="bot"} 3.0\n'
        'vllm:request_generation_tokens_sum{engine="0"} 99.0\n'
    )

    assert read_tokens(text) == Tokens(generated=15, prompt=3)
