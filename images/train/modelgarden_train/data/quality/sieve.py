"""Decides over the rows of a dataset in their order, from what was found in each: which go on, and which are told of."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from modelgarden.api.finetunejob import Quality
from modelgarden_train.data.quality.findings import GONE, Finding, verdict
from modelgarden_train.data.quality.near_duplicates import NearDuplicates
from modelgarden_train.data.quality.tally import Tally


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands."""

    counted: str
    """What it is counted in, as people look for it: `rows.jsonl, line`."""
    number: int

    @classmethod
    def of(cls, file: str, number: int, unit: str = "line") -> Self:
        """Return the place of a row; the only file of a dataset has no name."""
        return cls(f"{file}, {unit}" if file else unit, number)

    def __str__(self) -> str:
        return f"{self.counted} {self.number}"


class Sieve:
    """Takes rows one by one, then those that are left again for what only the whole dataset tells."""

    def __init__(self, quality: Quality) -> None:
        self.tally = Tally()
        self._quality = quality
        self._seen: set[bytes] = set()
        self._near = (
            NearDuplicates(quality.near_duplicate_threshold) if quality.finds_near_duplicates else None
        )
        self._places = _Places()

    def keeps(self, digest: bytes, findings: Sequence[Finding], place: Place, *, sketch: bytes = b"") -> bool:
        """Tell whether a row goes on: of equal rows the first, and what nothing was found in that is dropped.

        The sketch is needed where near duplicates are looked for.
        """
        found = [*findings, Finding("Duplicate")] if digest in self._seen else findings
        self._seen.add(digest)
        if not self._passes(found, place):
            return False
        if self._near is not None:
            self._near.add(sketch)
            self._places.add(place)
        return True

    def leave_out(self, finding: Finding, place: Place) -> None:
        """Count a row that is none, such as one without an answer."""
        self._passes([finding], place)

    def near_duplicates(self) -> set[int]:
        """Return which of the rows that went on are to be left out after all, by their numbers from 0."""
        found = self._near.found() if self._near is not None else {}
        return {
            later
            for later, earlier in sorted(found.items())
            if not self._passes(
                [Finding("NearDuplicate", f"like {self._places[earlier]}")], self._places[later]
            )
        }

    def _passes(self, findings: Sequence[Finding], place: Place) -> bool:
        made = verdict(findings, self._quality)
        if made.findings:
            self.tally.add(made, str(place))
        return made.action not in GONE


class _Places:
    """Places of many rows, in 12 bytes each."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._names: list[str] = []
        self._file_numbers, self._numbers = array("i"), array("q")

    def add(self, place: Place) -> None:
        if place.counted not in self._files:
            self._files[place.counted] = len(self._names)
            self._names.append(place.counted)
        self._file_numbers.append(self._files[place.counted])
        self._numbers.append(place.number)

    def __getitem__(self, row: int) -> Place:
        return Place(self._names[self._file_numbers[row]], self._numbers[row])
