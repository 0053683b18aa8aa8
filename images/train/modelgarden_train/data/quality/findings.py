"""What was found in a row, and what becomes of the row for it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from modelgarden.api.finetunejob import FIELD_OF_REASON, Action, Quality, Reason


@dataclass(frozen=True)
class Finding:
    """Something found in a row."""

    reason: Reason
    kind: str = ""
    """What it is in words, never the found text: it is told in reports, logs and messages."""


@dataclass(frozen=True)
class Verdict:
    """What becomes of a row."""

    action: Action
    findings: tuple[Finding, ...] = ()
    """What for: all that is flagged, or the one thing that a row is dropped or refused for."""


KEPT: Final = Verdict("Keep")
GONE: Final = frozenset[Action]({"Drop", "Fail"})
_ORDER: Final = tuple(FIELD_OF_REASON)


def verdict(findings: Sequence[Finding], quality: Quality) -> Verdict:
    """Return what becomes of a row: the hardest action of what was found, for the first reason that asks for it."""
    if not findings:
        return KEPT
    asked = sorted(findings, key=lambda finding: _ORDER.index(finding.reason))
    by_action = {
        action: tuple(one for one in asked if quality.action(one.reason) == action)
        for action in ("Fail", "Drop", "Flag")
    }
    if by_action["Fail"]:
        return Verdict("Fail", by_action["Fail"][:1])
    if by_action["Drop"]:
        return Verdict("Drop", by_action["Drop"][:1])
    return Verdict("Flag", by_action["Flag"]) if by_action["Flag"] else KEPT


def goes_on(findings: Sequence[Finding], quality: Quality) -> bool:
    """Tell whether a row is not left out for what was found."""
    return verdict(findings, quality).action not in GONE
