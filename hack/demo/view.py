"""The progress view: one line a step with its state and seconds, redrawn in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table


@dataclass
class Step:
    """One step of the demo."""

    name: str
    title: str
    started: float | None = None
    seconds: float | None = None
    failed: bool = False
    detail: str = ""

    @property
    def elapsed(self) -> float:
        """Seconds since the start, or of the whole step once it has ended."""
        if self.seconds is not None:
            return self.seconds
        return 0.0 if self.started is None else time.monotonic() - self.started

    @property
    def mark(self) -> str:
        """The state as one sign."""
        if self.failed:
            return "[red]✗[/red]"
        if self.seconds is not None:
            return "[green]✓[/green]"
        return "[yellow]●[/yellow]" if self.started is not None else "[dim]·[/dim]"


@dataclass
class View:
    """All steps in order. Use `step(name)` around the work and `say(text)` for the detail of the running one."""

    console: Console
    steps: list[Step]
    _current: Step | None = None
    _live: Live | None = field(default=None, repr=False)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Redraw the table while the block runs."""
        if not self.console.is_terminal:
            yield
            return
        with Live(get_renderable=self._table, console=self.console, refresh_per_second=4) as self._live:
            yield

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block as one step; an exception marks it as failed and goes on up."""
        step = next(s for s in self.steps if s.name == name)
        step.started, step.detail, self._current = time.monotonic(), "", step
        self._plain(f"{step.title} ...")
        try:
            yield
        except BaseException:
            step.failed = True
            raise
        finally:
            step.seconds = step.elapsed
            self._plain(f"{step.title}: {'failed' if step.failed else 'done'} after {step.seconds:.1f} s")

    def say(self, text: str) -> None:
        """Set the detail of the running step."""
        if self._current is None or self._current.detail == text:
            return
        self._current.detail = text
        self._plain(f"  {text}")

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each finished step."""
        return {s.name: round(s.seconds, 1) for s in self.steps if s.seconds is not None}

    def _plain(self, text: str) -> None:
        if self._live is None:
            self.console.print(text, markup=False, highlight=False)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for step in self.steps:
            clock = f"{step.elapsed:6.1f} s" if step.started is not None else ""
            table.add_row(step.mark, step.title, clock, f"[dim]{escape(step.detail[:80])}[/dim]")
        return table
