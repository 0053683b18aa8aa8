"""Which rows go on: decided in their order, and told with their places."""

from __future__ import annotations

import hashlib

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
