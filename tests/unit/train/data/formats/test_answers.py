"""Rows for preference training, for checked answers, and with images."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden_train.data.formats import parse_row
from modelgarden_train.data.rows import Row, RowError

USER = {"role": "user", "content": "2+2?"}
GOOD = {"role": "assistant", "content": "4"}
BAD = {"role": "assistant", "content": "5"}


def read(**value: Any) -> Row:
    return parse_row(value, "Auto")


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": "2+2?", "chosen": "4", "rejected": "5"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [USER], "chosen": "4", "rejected": [BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
    ],
    ids=["texts", "messages", "both", "an implicit prompt"],
)
def test_a_preference_is_the_same_however_it_is_written(value: dict[str, Any]) -> None:
    row = read(**value)

    assert row == Row((USER, GOOD), kind="Preference", rejected=BAD)
    assert (row.question, row.answer) == ("2+2?", "4")


def test_both_answers_of_a_preference_are_part_of_its_identity() -> None:
    row = read(prompt="a", chosen="b", rejected="c")

    assert row.digest != read(prompt="a", chosen="b", rejected="d").digest
    assert row.prompt_digest == read(prompt="a", chosen="x", rejected="y").prompt_digest
    assert row.characters == 3


@pytest.mark.parametrize(
    ("text", "good"), [("true", True), ("False", False), ("TRUE ", True), ("1", True), ("0", False)]
)
def test_a_label_may_be_a_text_as_a_table_has_it(text: str, good: bool) -> None:
    assert read(prompt="a", completion="b", label=text).label is good


def test_a_label_says_whether_an_answer_is_good() -> None:
    assert read(prompt=[USER], completion=[GOOD], label=False) == Row((USER, GOOD), kind="KTO", label=False)


def test_an_answer_to_be_checked_follows_its_prompt() -> None:
    row = read(prompt=[{"role": "system", "content": "Count."}, USER], answer="4")

    assert (row.question, row.answer, row.kind) == ("2+2?", "4", "PromptAnswer")


def test_images_stand_before_the_text() -> None:
    row = read(images=["a/1.png", "2.jpg"], text="Which?", response="Both")

    assert row.images == ("a/1.png", "2.jpg")
    assert row.messages[0]["content"] == [
        {"type": "image"},
        {"type": "image"},
        {"type": "text", "text": "Which?"},
    ]
    assert row == read(images=["a/1.png", "2.jpg"], image=None, text="Which?", response="Both")


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ({"chosen": "4", "rejected": "5"}, 'field "prompt" is missing; without one, chosen and rejected are whole'),
        ({"chosen": [USER, GOOD]}, 'field "prompt" is missing'),
        ({"prompt": "a", "rejected": "5"}, 'field "chosen" is missing'),
        ({"prompt": "a", "chosen": "4", "rejected": "4"}, "are the same answer"),
        ({"prompt": "a", "chosen": [USER], "rejected": "4"}, '"chosen" must be one message of the role assistant'),
        ({"prompt": "a", "chosen": [GOOD, USER], "rejected": "4"}, '"chosen" must be one message'),
        ({"chosen": [USER, GOOD], "rejected": [{**USER, "content": "3+3?"}, BAD]}, "but for the last answer"),
        ({"chosen": [USER, GOOD], "rejected": [USER, GOOD]}, "are the same answer"),
        ({"chosen": [USER], "rejected": [USER]}, '"chosen" must end with a message of the role assistant'),
        ({"prompt": [USER, GOOD], "chosen": "4", "rejected": "5"}, '"prompt" must not end with an answer'),
        ({"prompt": [], "chosen": "4", "rejected": "5"}, '"prompt" has no message of the role user'),
        (
            {"prompt": "a", "completion": "b", "label": 1},
            '"label" must be true or false, in a text also 1 or 0, found a number',
        ),
        ({"prompt": "a", "completion": "b", "label": "yes"}, "found another text"),
        ({"prompt": "a", "answer": 4}, '"answer" must be a string, found a number; write it in quotes'),
        ({"prompt": [{"role": "user", "content": [{"type": "image", "image": "a.png"}]}], "answer": "b"},
         "has an image; only the formats Vision and Messages may"),
        ({"image": "a.png", "response": "b"}, 'field "text" is missing'),
        ({"image": None, "text": "a", "response": "b"}, "must be the path of an image, found null"),
        ({"images": [], "text": "a", "response": "b"}, 'field "images" is empty'),
        ({"images": "a.png", "text": "a", "response": "b"}, 'field "images" must be a list'),
        ({"text": ""}, 'field "text" is empty'),
        ({"instruction": "a", "input": 4, "output": "b"}, '"input" must be a string'),
    ],
)  # fmt: skip
def test_a_wrong_row_says_what_and_where(value: dict[str, Any], want: str) -> None:
    with pytest.raises(RowError) as raised:
        read(**value)

    assert want in str(raised.value)


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("/etc/passwd", "no relative path"),
        ("../secret.png", "no plain path"),
        ("a/../../b.png", "no plain path"),
        ("a/..", "no plain path"),
        ("./a.png", "no plain path"),
        ("a//b.png", "no plain path"),
        ("a/", "no plain path"),
        ("..\\secret.png", "no relative path"),
        ("C:/secret.png", "is the URL"),
        ("file:///etc/passwd", "is the URL"),
        ("https://host/a.png", "is the URL"),
        ("data:image/png,AAAA", "is a data: URL without base64"),
        ("a\0.png", "NUL"),
        ("", "has 0 characters"),
        (" ", "has 1 characters"),
        ("a" * 2000, "has 2000 characters"),
        (7, "must be the path of an image, found a number"),
        ({"bytes": "AAAA"}, "must be the path of an image, found an object"),
    ],
)
def test_an_image_is_a_file_below_the_source(path: Any, want: str) -> None:
    with pytest.raises(RowError) as vision:
        read(image=path, text="a", response="b")
    part = {"type": "image", "image": path}
    with pytest.raises(RowError) as message:
        read(messages=[{"role": "user", "content": [part]}, {"role": "assistant", "content": "b"}])

    assert want in str(vision.value)
    assert want in str(message.value)
    assert len(str(message.value)) < 300
