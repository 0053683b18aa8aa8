"""Which rows go on: decided in their order, and told with their places."""

from __future__ import annotations

import hashlib
from typing import Literal

import pytest

from modelgarden.api.finetunejob import Quality
from modelgarden_pod.errors import UserError
from modelgarden_train.data.quality.findings import Finding
from modelgarden_train.data.quality.near_duplicates import sketches
from modelgarden_train.data.quality.sieve import Place, Sieve

TEXT = "The capital of France is Paris, which lies on the river Seine and has been its capital for many centuries."


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def sift(quality: Quality, *texts: str) -> tuple[Sieve, list[str]]:
    """Return the sieve and the texts that are left."""
    sieve = Sieve(quality)
    left = [
        text
        for number, (text, sketch) in enumerate(zip(texts, sketches(texts), strict=True), start=1)
        if sieve.keeps(digest(text), [], Place("rows.jsonl, line", number), sketch=sketch)
    ]
    gone = sieve.near_duplicates()
    return sieve, [text for number, text in enumerate(left) if number not in gone]


def test_of_equal_rows_the_first_goes_on_and_the_order_stays() -> None:
    sieve, left = sift(Quality(), "b", "a", "b", "b")

    assert left == ["b", "a"]
    assert sieve.tally.rows("Drop") == {"Duplicate": 2}
    assert sieve.tally.records[0].places == ("rows.jsonl, line 3", "rows.jsonl, line 4")


def test_duplicates_may_stay_flagged_or_not() -> None:
    flagged, left = sift(Quality(duplicates="Flag"), "a", "a")
    kept, left_too = sift(Quality(duplicates="Keep"), "a", "a")

    assert left == left_too == ["a", "a"]
    assert flagged.tally.rows("Flag") == {"Duplicate": 1}
    assert kept.tally.records == ()


def test_a_near_duplicate_is_left_out_and_told_with_what_it_is_like() -> None:
    sieve, left = sift(Quality(near_duplicates="Drop"), "else", TEXT, TEXT, TEXT + "!", "other")

    assert left == ["else", TEXT, "other"]
    assert sieve.tally.rows("Drop") == {"Duplicate": 1, "NearDuplicate": 1}
    assert sieve.tally.records[1].places == ("rows.jsonl, line 4 (like rows.jsonl, line 2)",)


def test_near_duplicates_are_not_looked_for_where_they_are_kept() -> None:
    sieve, left = sift(Quality(), TEXT, TEXT + "!")

    assert left == [TEXT, TEXT + "!"]
    assert sieve.tally.records == ()


def test_flagged_rows_go_on_and_dropped_ones_do_not_count_as_kept() -> None:
    sieve = Sieve(Quality(emails="Flag", secrets="Drop", empty_answers="Drop"))
    place = Place("line", 1)

    assert sieve.keeps(b"1", [Finding("Email")], place)
    assert not sieve.keeps(b"2", [Finding("Secret", "Slack Token")], place)
    sieve.leave_out(Finding("EmptyAnswer"), place)
    assert sieve.tally.rows("Flag") == {"Email": 1}
    assert sieve.tally.rows("Drop") == {"EmptyAnswer": 1, "Secret": 1}


def test_near_duplicates_may_fail_the_dataset() -> None:
    sieve, _ = sift(Quality(near_duplicates="Fail"), TEXT, TEXT + "!")

    with pytest.raises(UserError, match=r"line 2 \(like rows.jsonl, line 1\): the row is almost equal"):
        sieve.tally.require_none_failed()


@pytest.mark.parametrize("action", ["Keep", "Flag", "Drop", None])
def test_a_row_with_the_prompt_of_a_given_validation_row_is_an_overlap_and_no_duplicate(
    action: Literal["Keep", "Flag", "Drop"] | None,
) -> None:
    sieve = Sieve(Quality(overlap=action))

    assert sieve.holds_out(b"1", [], Place("held.jsonl, line", 1), prompt=b"p")
    assert not sieve.holds_out(b"1", [], Place("held.jsonl, line", 2), prompt=b"p")
    goes_on = sieve.keeps(b"1", [], Place("rows.jsonl, line", 1), prompt=b"p")

    assert goes_on == (action in ("Keep", "Flag"))
    assert sieve.keeps(b"2", [], Place("rows.jsonl, line", 2), prompt=b"q")
    overlaps = {
        (one.reason, one.action, one.places) for one in sieve.tally.records if one.reason == "Overlap"
    }
    expected = {("Overlap", action or "Drop", ("rows.jsonl, line 1",))}
    assert overlaps == (set() if action == "Keep" else expected)
    assert sieve.tally.rows("Drop")["Duplicate"] == 1


def test_an_overlap_may_fail_the_dataset_and_a_validation_row_that_is_dropped_makes_none() -> None:
    sieve = Sieve(Quality(overlap="Fail", secrets="Drop"))
    assert not sieve.holds_out(b"1", [Finding("Secret")], Place("line", 1), prompt=b"gone")
    assert sieve.holds_out(b"2", [], Place("line", 2), prompt=b"held out")

    assert sieve.keeps(b"3", [], Place("line", 3), prompt=b"gone")
    assert not sieve.keeps(b"4", [], Place("line", 4), prompt=b"held out")
    with pytest.raises(
        UserError, match=r"line 4: the prompt stands in dataset.validationSources \(.*overlap"
    ):
        sieve.tally.require_none_failed()


def test_near_duplicates_are_told_within_validation_and_within_training_only() -> None:
    sieve = Sieve(Quality(near_duplicates="Drop"))
    other = "Berlin is the capital of Germany, lies on the river Spree and has some four million inhabitants today."
    held_out, trained_on = (TEXT, TEXT + "!"), (TEXT + "?", other, other + "!")
    for number, (text, sketch) in enumerate(zip(held_out, sketches(held_out), strict=True)):
        assert sieve.holds_out(digest(text), [], Place("v", number), prompt=digest(text), sketch=sketch)
    for number, (text, sketch) in enumerate(zip(trained_on, sketches(trained_on), strict=True)):
        assert sieve.keeps(digest(text), [], Place("t", number), prompt=digest(text), sketch=sketch)

    assert sieve.near_duplicates() == {1, 4}
    assert sieve.tally.records[0].places == ("v 1 (like v 0)", "t 2 (like t 1)")
