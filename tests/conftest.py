"""What every tier shares: figures that a test measured stand in the summary, whichever worker ran it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings

# A time limit for one example says how busy the machine is, not whether the code is right.
settings.register_profile("modelgarden", deadline=None)
settings.load_profile("modelgarden")

FIGURE = "figure"


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Says what the test measured, for the summary."""
    return lambda text: record_property(FIGURE, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    found = [text for report in reports for name, text in report.user_properties if name == FIGURE]
    if found:
        terminalreporter.section("measured")
        for text in dict.fromkeys(found):
            terminalreporter.write_line(str(text))
