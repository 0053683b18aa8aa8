"""Prepare on several CPUs: the same dataset as on one, the same messages, and no process left behind."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.trainer_process import (
    TrainerProcess,
    lives,
    make_config,
    make_rows,
    tiny_model,
    trainer_python,
)

ROWS = 3000
PADDING = "x" * 8000
"""A field that no format has: the file is large enough for several processes, and its rows are quick."""

needs_two_cpus = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")

Make = Callable[..., TrainerProcess]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    python, model = trainer_python(), tiny_model()

    def make(name: str, *lines: str, rows: int = ROWS, bad_rows: int | str = 0) -> TrainerProcess:
        dataset = tmp_path / "rows.jsonl"
        with dataset.open("w") as file:
            for row in make_rows(rows):
                file.write(f"{json.dumps({**row, 'more': PADDING})}\n")
            file.writelines(f"{line}\n" for line in lines)
        folder = tmp_path / name
        config = make_config(run_uri=str(folder / "run"), model=str(model), dataset="")
        config["dataset"] = {"sources": [{"uri": dataset.as_uri()}], "maxBadRows": bad_rows}
        return TrainerProcess(python, folder / "process", config, attempt="attempt-1")

    return make


@contextmanager
def cpus(count: int) -> Iterator[None]:
    """Give what is started meanwhile so many CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[:count]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def row_processes(process: TrainerProcess) -> list[int]:
    return [pid for pid in process.workers() if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def wait_for_row_processes(process: TrainerProcess, count: int) -> list[int]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = row_processes(process)
        if len(found) == count:
            return found
        time.sleep(0.05)
    raise AssertionError(process.log.read_text())


@needs_two_cpus
def test_the_dataset_does_not_depend_on_the_cpus(make: Make) -> None:
    found = []
    for count in (1, 2):
        process = make(f"on {count}", '{"prompt": "a"}', bad_rows="1%")
        with cpus(count):
            ended = process.run("prepare")
        assert ended.exit_code == 0, ended.log
        assert ended.message.dataset is not None
        found.append(ended.message.dataset.model_copy(update={"report": None}))

    assert found[0] == found[1]
    assert (found[0].rows, found[0].dropped) == (ROWS + 1, {"BadRow": 1})


@needs_two_cpus
def test_wrong_rows_are_named_in_their_order_whatever_process_has_them(make: Make) -> None:
    ended = make("wrong", '{"prompt": "a"}', "{").run("prepare")

    assert (ended.exit_code, ended.message.reason) == (64, "DatasetInvalid")
    want = f'2 rows are wrong: line {ROWS + 1}: field "completion" is missing; line {ROWS + 2}: column 2 is not JSON'
    assert ended.message.message.startswith(want)
    assert "Traceback" not in ended.log


@needs_two_cpus
def test_a_process_that_is_killed_ends_prepare_and_the_other_one(make: Make) -> None:
    process = make("killed", rows=4 * ROWS)
    process.start("prepare")
    processes = wait_for_row_processes(process, 2)

    os.kill(processes[0], signal.SIGKILL)
    ended = process.wait()

    assert ended.message.reason in ("PrepareFailed", "OutOfMemory")
    assert ended.message.message.startswith("a process that prepares rows")
    assert not [pid for pid in processes if lives(pid)]
