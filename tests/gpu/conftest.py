"""One table of what was trained on CUDA, and a GPU of its own for each of pytest-xdist's workers."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable

import pytest

from tests.gpu.training_run import TrainingRow, gpus

ROW = "training"
HEAD = (
    "| method | objective | modality | optimizer | tokens/s | peak GPU memory, MiB | metric | before | after |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def pytest_configure(config: pytest.Config) -> None:
    """Give a worker one of the GPUs."""
    worker = re.fullmatch(r"gw(\d+)", os.environ.get("PYTEST_XDIST_WORKER", ""))
    if worker and gpus():
        os.environ["CUDA_VISIBLE_DEVICES"] = str(int(worker[1]) % gpus())


@pytest.fixture
def trained_row(record_property: Callable[[str, object], None]) -> Callable[[TrainingRow], None]:
    """Puts a training into the table."""
    return lambda row: record_property(ROW, row.text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, with the card's name."""
    passed = terminalreporter.getreports("passed")
    rows = [str(text) for report in passed for name, text in report.user_properties if name == ROW]
    if not rows:
        return
    asked = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    card = subprocess.check_output(asked, text=True).splitlines()[0]
    terminalreporter.section(f"trained on {card}")
    for line in (HEAD, *sorted(set(rows))):
        terminalreporter.write_line(line)
