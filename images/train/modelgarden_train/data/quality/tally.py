"""Counts what was found in the rows of a dataset, and remembers where it was first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from modelgarden.api.artifact import FindingRecord
from modelgarden.api.finetunejob import FIELD_OF_REASON, Action, Reason
from modelgarden_pod.errors import UserError
from modelgarden_train.data.bad_rows import MOST_PLACES, MOST_SHOWN
from modelgarden_train.data.quality.findings import Finding, Verdict

_IN_WORDS: Final[dict[Reason, str]] = {
    "EmptyAnswer": "the answer is empty",
    "Duplicate": "the row equals an earlier one",
    "Overlap": "the prompt stands in dataset.validationSources",
    "NearDuplicate": "the row is almost equal to an earlier one",
    "TooLong": "the row is longer than training.maxSequenceLength",
    "TooShort": "the row is shorter than dataset.quality.minTokens",
    "CutOffAnswer": "the answer stops in the middle",
    "Profanity": "the row is offensive",
    "Email": "the row has an e-mail address",
    "Secret": "the row has a key",
}


def told(counts: Mapping[str, int]) -> str:
    """Return counts by reason for people."""
    return ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "none"


@dataclass
class _Count:
    rows: int = 0
    places: list[str] = field(default_factory=list)


class Tally:
    """What was found so far."""

    def __init__(self) -> None:
        self._counts: dict[tuple[Action, Reason], _Count] = {}

    def add(self, verdict: Verdict, place: str) -> None:
        """Count what becomes of the row at a place."""
        for finding in verdict.findings:
            self._count(verdict.action, finding, place)

    def _count(self, action: Action, finding: Finding, place: str) -> None:
        count = self._counts.setdefault((action, finding.reason), _Count())
        count.rows += 1
        if len(count.places) < MOST_PLACES:
            count.places.append(f"{place} ({finding.kind})" if finding.kind else place)

    def rows(self, action: Action) -> dict[str, int]:
        """Return how many rows an action was taken on, by reason."""
        return {reason: count.rows for reason, count in self._of(action)}

    @property
    def records(self) -> tuple[FindingRecord, ...]:
        """What was found, as the report tells it."""
        return tuple(
            FindingRecord(reason=reason, action=action, rows=count.rows, places=tuple(count.places))
            for action in ("Drop", "Flag")
            for reason, count in self._of(action)
        )

    def require_none_failed(self) -> None:
        """Hold that nothing was found that a dataset must not have.

        Raises:
            UserError: DatasetInvalid, with the first places of each reason.
        """
        problems = [
            f"{'; '.join(count.places[:MOST_SHOWN])}{_more(count)}: {_IN_WORDS[reason]} "
            f"(dataset.quality.{_field(reason)} is Fail)"
            for reason, count in self._of("Fail")
        ]
        if problems:
            raise UserError(
                "DatasetInvalid", f"{'. '.join(problems)}. Correct the rows, or set the field to Drop"
            )

    def _of(self, action: Action) -> Iterator[tuple[Reason, _Count]]:
        for reason in FIELD_OF_REASON:
            if count := self._counts.get((action, reason)):
                yield reason, count


def _more(count: _Count) -> str:
    more = count.rows - len(count.places[:MOST_SHOWN])
    return f" and {more} more" if more else ""


def _field(reason: Reason) -> str:
    head, *rest = FIELD_OF_REASON[reason].split("_")
    return head + "".join(word.capitalize() for word in rest)
