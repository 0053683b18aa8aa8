"""The progress view and the errors show what kubectl says as it is: brackets in it are no markup."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hack.demo import __main__ as demo
from hack.demo.errors import DemoError
from hack.demo.view import Step, View

SAID = "admission webhook: [spec.x: Invalid value] at [/spec/x]"


def test_a_detail_in_brackets_is_shown_as_it_was_said() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120)
    view = View(console, [Step("apply", "Apply")])
    with view.live(), view.step("apply"):
        view.say(SAID)
    assert SAID in text.getvalue()


def test_an_error_in_brackets_is_shown_as_it_was_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(console: Console) -> None:
        raise DemoError(SAID)

    monkeypatch.setattr(demo, "run", fails)
    monkeypatch.setattr("sys.argv", ["hack.demo", "run"])
    monkeypatch.setenv("COLUMNS", "200")
    assert demo.main() == 1
    assert SAID in capsys.readouterr().out
