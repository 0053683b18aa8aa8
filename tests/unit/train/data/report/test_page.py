"""The page: whole, escaped, and in need of nothing else."""

from __future__ import annotations

from html.parser import HTMLParser

from modelgarden.api.artifact import DatasetReport, FindingRecord, LengthBin, RunIdentity, SourceRecord
from modelgarden.api.finetunejob import DatasetStatus, Lengths
from modelgarden_train.data.report.page import page_of

RUN = RunIdentity(namespace="team", name="job", uid="uid")
HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(1)>'
DIGEST = "0" * 64


def report(**status: object) -> DatasetReport:
    given = {
        "rows": 1234,
        "training_rows": 1000,
        "validation_rows": 100,
        "dropped": {"Duplicate": 134},
        "tokens": 56_789,
        "format": "Alpaca",
        "digest": DIGEST,
        "lengths": Lengths(p50=50, p90=90, p99=99, max=128),
        "first_example": f"<s>{HOSTILE}</s>",
    }
    return DatasetReport(
        source="s3://bucket/rows.jsonl",
        sources=(SourceRecord(uri=f"s3://bucket/{HOSTILE}", files=2, digest=DIGEST, rows=1234, kept=1100),),
        model_revision=HOSTILE,
        status=DatasetStatus.model_validate(given | status),
        longest_row_tokens=128,
        findings=(
            FindingRecord(reason="Duplicate", action="Drop", rows=134, places=(f"{HOSTILE}, line 3",)),
            FindingRecord(reason="Email", action="Flag", rows=2, places=("line 5",)),
        ),
        histogram=tuple(
            LengthBin(from_tokens=32 * number, to_tokens=32 * number + 31, rows=number) for number in range(4)
        ),
        files=(),
    )


class Elements(HTMLParser):
    """Holds that every element is closed, and remembers names, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> Elements:
    elements = Elements()
    elements.feed(page)
    elements.close()
    assert elements.open == []
    return elements


def test_the_page_tells_all_that_the_report_has() -> None:
    text = parsed(page_of(report(test_rows=17), run=RUN)).text

    for told in (
        "team/job",
        "1,234",
        "56,789",
        "17",
        "134",
        "kept, flagged",
        "line 5",
        "1,100",
        DIGEST,
        "99 %",
    ):
        assert told in text
    assert "3 rows of 96 to 127 tokens" in text


def test_nothing_of_a_row_or_name_is_markup() -> None:
    elements = parsed(page_of(report(), run=RUN))

    assert "script" not in elements.names
    assert "img" not in elements.names
    assert elements.text.count(HOSTILE) == 4


def test_the_page_takes_nothing_from_elsewhere() -> None:
    elements = parsed(page_of(report(), run=RUN))

    assert not {name for name, _ in elements.attributes} & {"src", "href", "xlink:href", "style", "onload"}
    assert "url(" not in page_of(report(), run=RUN)
    assert "@import" not in page_of(report(), run=RUN)


def test_a_report_of_an_earlier_version_has_a_page_too() -> None:
    old = report(lengths=None, first_example=None).model_copy(update={"findings": (), "histogram": ()})

    assert "Nothing that was looked for" in parsed(page_of(old, run=RUN)).text
