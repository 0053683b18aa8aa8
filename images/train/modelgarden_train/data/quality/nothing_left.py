"""Why no row is left: what the rows were dropped for, where first, and what keeps them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelgarden.api.artifact import FindingRecord
from modelgarden.api.finetunejob import FIELD_OF_REASON
from modelgarden_pod.errors import UserError


def nothing_left(which: str, *, read: int, findings: Sequence[FindingRecord], longest: int) -> UserError:
    """Return the error of a dataset that has no row of a kind left, such as "to train on".

    So many rows of the kind were read; the findings are those of all rows, and `longest` tokens may a row have.
    """
    if not read:
        return UserError("DatasetInvalid", f"there are no rows {which}; upload files with rows")
    dropped = [one for one in findings if one.action == "Drop"]
    counted = ", ".join(f"{one.rows} {one.reason} (first: {one.places[0]})" for one in dropped)
    remedies = list(dict.fromkeys(remedy for one in dropped for remedy in _remedies(one.reason, longest)))
    return UserError(
        "DatasetInvalid",
        f"no row {which} is left of {read}; dropped of all rows: {counted}; {', '.join(remedies)}",
    )


def _remedies(reason: str, longest: int) -> Iterator[str]:
    """Yield what keeps rows that are dropped for a reason."""
    if reason == "Overlap":
        yield "give dataset.validationSources other prompts than those that are trained on"
    elif reason == "TooLong":
        yield "split long rows"
        yield f"raise training.maxSequenceLength ({longest} tokens now)"
        yield "set training.ropeScaling where the base model has no positions for more"
    elif reason == "TooShort":
        yield "lower dataset.quality.minTokens"
    elif reason in FIELD_OF_REASON and reason not in ("EmptyAnswer", "Duplicate", "NearDuplicate"):
        yield "correct the rows or set dataset.quality to flag them"
    elif reason in ("BadRow", "EmptyAnswer"):
        yield "correct the rows"
    else:
        yield "add rows that differ"
