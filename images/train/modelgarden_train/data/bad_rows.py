"""Rows that cannot be taken: counted, the first few named, and refused where there are more than may be. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Final

from modelgarden.api.artifact import FindingRecord
from modelgarden.api.finetunejob import DatasetFormat
from modelgarden_pod.errors import UserError
from modelgarden_train.data.formats import EXAMPLES

MOST_SHOWN: Final = 3
"""Rows that a message names."""
MOST_PLACES: Final = 100
"""Rows that the report names, of each reason."""


class BadRows:
    """The rows of a dataset that cannot be taken."""

    def __init__(self) -> None:
        self.count = 0
        self.remedies: set[str] = set()
        """What to do about some of them."""
        self.places: list[str] = []
        """Of the first, with what is wrong."""

    def add(self, count: int, told: Iterable[str], *, remedies: Iterable[str] = ()) -> None:
        """Count some; `told` says of the first of them where they stand and what is wrong."""
        self.count += count
        self.remedies.update(remedies)
        for text in told:
            if len(self.places) < MOST_PLACES:
                self.places.append(text)

    @property
    def records(self) -> tuple[FindingRecord, ...]:
        """What the report tells of them, where there are any."""
        if not self.count:
            return ()
        return (FindingRecord(reason="BadRow", action="Drop", rows=self.count, places=tuple(self.places)),)

    def require_few(self, most: int | str, *, rows: int, formats: Sequence[DatasetFormat]) -> None:
        """Hold that no more of all rows are bad than may be, a number or a share such as 10%, and never all of them.

        Raises:
            UserError: DatasetInvalid, with place and field of the first of them, and what to do.
        """
        if self.count <= most_bad_rows(most, rows) and not 0 < self.count == rows:
            return
        shown = self.places[:MOST_SHOWN]
        more = self.count - len(shown)
        rest = f"; and {more} more" if more else ""
        count = "1 row is" if self.count == 1 else f"{self.count} rows are"
        allowed = f" (of {rows}; maxBadRows is {most})" if str(most) not in ("0", "0%") else ""
        known = {name for name in formats if name != "Auto"}
        example = f". A row looks like {EXAMPLES[known.pop()]}" if len(known) == 1 else ""
        remedies = "".join(f"; {remedy}" for remedy in sorted(self.remedies))
        text = f"{count} wrong{allowed}: {'; '.join(shown)}{rest}{remedies}{example}"
        raise UserError("DatasetInvalid", text)


def most_bad_rows(most: int | str, rows: int) -> int:
    """Return how many of so many rows may be bad."""
    text = str(most)
    return int(Fraction(text.removesuffix("%")) * rows / 100) if text.endswith("%") else int(text)
