"""Decides over the rows of a dataset in their order, from what was found in each: which go on, and which are told of."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
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
    """Takes rows one by one, then those that are left again for what only the whole dataset tells.

    Rows that are given for validation come before those to train on. What is equal or alike on both sides is no duplicate:
    equal prompts are an overlap, for which the row to train on goes.
    """

    def __init__(self, quality: Quality) -> None:
        self.tally = Tally()
        self._quality = quality
        self._validation, self._training = _Side(quality), _Side(quality)
        self._prompts: set[bytes] = set()

    def keeps(
        self,
        digest: bytes,
        findings: Sequence[Finding],
        place: Place,
        *,
        prompt: bytes = b"",
        sketch: bytes = b"",
    ) -> bool:
        """Tell whether a row goes on: of equal rows the first, and what nothing was found in that is dropped.

        The prompt is the digest of it, which the rows for validation are held against; the sketch is needed where near
        duplicates are looked for.
        """
        found = [*findings, Finding("Overlap")] if prompt in self._prompts else findings
        return self._takes(self._training, digest, found, place, sketch)

    def holds_out(
        self, digest: bytes, findings: Sequence[Finding], place: Place, *, prompt: bytes, sketch: bytes = b""
    ) -> bool:
        """Tell the same of a row that is given for validation."""
        kept = self._takes(self._validation, digest, findings, place, sketch)
        if kept:
            self._prompts.add(prompt)
        return kept

    def leave_out(self, finding: Finding, place: Place) -> None:
        """Count a row that is none, such as one without an answer."""
        self._passes([finding], place)

    def near_duplicates(self) -> set[int]:
        """Return which of the rows that went on are to be left out after all, by their numbers from 0."""
        held_out = set(self._near_duplicates(self._validation))
        return held_out | {self._validation.kept + row for row in self._near_duplicates(self._training)}

    def _near_duplicates(self, side: _Side) -> Iterator[int]:
        found = side.near.found() if side.near is not None else {}
        for later, earlier in sorted(found.items()):
            finding = Finding("NearDuplicate", f"like {side.places[earlier]}")
            if not self._passes([finding], side.places[later]):
                yield later

    def _takes(
        self, side: _Side, digest: bytes, findings: Sequence[Finding], place: Place, sketch: bytes
    ) -> bool:
        found = [*findings, Finding("Duplicate")] if digest in side.seen else findings
        side.seen.add(digest)
        if not self._passes(found, place):
            return False
        side.kept += 1
        if side.near is not None:
            side.near.add(sketch)
            side.places.add(place)
        return True

    def _passes(self, findings: Sequence[Finding], place: Place) -> bool:
        made = verdict(findings, self._quality)
        if made.findings:
            self.tally.add(made, str(place))
        return made.action not in GONE


class _Side:
    """What is remembered of the rows for validation, or of those to train on."""

    def __init__(self, quality: Quality) -> None:
        self.seen: set[bytes] = set()
        self.kept = 0
        self.near = (
            NearDuplicates(quality.near_duplicate_threshold) if quality.finds_near_duplicates else None
        )
        self.places = _Places()


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
