"""The demo's result: scores, artifact, energy and emissions, as JSON for machines and a table for people."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

SHOWN_ROWS = 6
_ENERGY_OF = {"training": "energy of this training", "serving": "energy of the deployment so far"}


@dataclass(frozen=True)
class Answers:
    """What base, tuned and served model answered to one held-out question, and which answers were right."""

    prompt: str
    expected: str
    base: str
    tuned: str
    served: str
    served_tokens: int
    base_right: bool
    tuned_right: bool
    served_right: bool


def share(answers: list[Answers], attribute: str) -> float:
    """Return the share of right answers, 0 to 1."""
    right = sum(bool(getattr(row, attribute)) for row in answers)
    return right / len(answers)


def build(
    answers: list[Answers], job: dict[str, Any], deployment: dict[str, Any], seconds: dict[str, float]
) -> dict[str, Any]:
    """Return the report. Energy and emissions are the status's, of training and serving together and apart."""
    training = job["status"]["carbon"]
    serving = deployment["status"].get("carbon", {}).get("total", {})
    parts = {"training": training, "serving": serving}
    return {
        "questions": len(answers),
        "baseScore": share(answers, "base_right"),
        "tunedScore": share(answers, "tuned_right"),
        "servedScore": share(answers, "served_right"),
        "energyJoules": sum(_energy(part) for part in parts.values()),
        "emissionsMilligrams": sum(part.get("emissionsMilligrams", 0) for part in parts.values()),
        "carbon": parts,
        "artifact": job["status"]["artifact"],
        "url": deployment["status"]["url"],
        "evaluation": job["status"]["evaluation"],
        "seconds": seconds,
    }


def write(report: dict[str, Any], answers: list[Answers], folder: Path) -> Path:
    """Write report.json and every answer to answers.json; return the report's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "answers.json").write_text(json.dumps([vars(row) for row in answers], indent=2) + "\n")
    path = folder / "report.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    return path


def show(console: Console, report: dict[str, Any], answers: list[Answers]) -> None:
    """Print answers side by side, the artifact, and energy and emissions."""
    table = Table(title="Held-out questions", show_lines=True)
    for heading in ("question", "base model", "tuned model, served"):
        table.add_column(heading, overflow="fold")
    for row in answers[:SHOWN_ROWS]:
        table.add_row(
            escape(row.prompt),
            _colored(row.base[:160], row.base_right),
            _colored(row.served, row.served_right),
        )
    console.print(table)

    facts = Table.grid(padding=(0, 2))
    facts.add_column()
    facts.add_column(overflow="fold")
    artifact = report["artifact"]
    for name in ("base", "tuned", "served"):
        facts.add_row(
            f"{name} model", f"{report[f'{name}Score']:.1%} of {report['questions']} questions right"
        )
    facts.add_row(
        "artifact", f"{artifact['modelName']} version {artifact['version']}, {artifact['bytes'] / 1e6:.1f} MB"
    )
    facts.add_row("", artifact["uri"])
    for name, part in report["carbon"].items():
        facts.add_row(_ENERGY_OF[name], _carbon_line(part))
    facts.add_row("endpoint", report["url"])
    facts.add_row("all steps", f"{sum(report['seconds'].values()):.0f} s")
    console.print(facts)


def _energy(record: dict[str, Any]) -> int:
    return int(record.get("energyJoules", {}).get("total", 0))


def _carbon_line(record: dict[str, Any]) -> str:
    if not record:
        return "not metered"
    emissions = record.get("emissionsMilligrams")
    said = f"{emissions} mg CO2e" if emissions is not None else "emissions unknown"
    return f"{_energy(record)} J, {said} ({record['state']}, {record['durationSeconds']} s)"


def _colored(text: str, right: bool) -> str:
    return f"[{'green' if right else 'red'}]{escape(text) or '(nothing)'}[/]"
