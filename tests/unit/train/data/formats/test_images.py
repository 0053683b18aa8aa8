"""Rows with images in the forms that people have them, and what each means."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden_train.data.formats import detect_format, parse_row
from modelgarden_train.data.rows import RowError

IMAGE = {"type": "image"}


def text(content: str) -> dict[str, str]:
    return {"type": "text", "text": content}


def chat(content: Any, **beside: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": content}, {"role": "assistant", "content": "Red"}]
    return {"messages": turns, **beside}


@pytest.mark.parametrize(
    ("value", "content", "images"),
    [
        pytest.param(
            chat([IMAGE, text("Which?")], images=["a.png"]), [IMAGE, text("Which?")], ("a.png",), id="TRL"
        ),
        pytest.param(
            chat([{**IMAGE, "text": None}, {**text("Which?"), "image": None}], images=[{"bytes": None, "path": "a.png"}]),
            [IMAGE, text("Which?")],
            ("a.png",),
            id="a table of the hub",
        ),
        pytest.param(
            chat("Which?", images=["a.png", "b.png"]),
            [IMAGE, IMAGE, text("Which?")],
            ("a.png", "b.png"),
            id="TRL with a plain text",
        ),
        pytest.param(
            chat([{**IMAGE, "image": "b.png"}, text("and"), IMAGE], images=["a.png"]),
            [IMAGE, text("and"), IMAGE],
            ("b.png", "a.png"),
            id="within and beside",
        ),
        pytest.param(
            chat([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, text("Which?")]),
            [IMAGE, text("Which?")],
            ("data:image/png;base64,AAAA",),
            id="OpenAI",
        ),
        pytest.param(
            {"image": "a.png", "conversations": [
                {"from": "human", "value": "<image>\nWhich?"}, {"from": "gpt", "value": "Red"}]},
            [IMAGE, text("Which?")],
            ("a.png",),
            id="LLaVA",
        ),
        pytest.param(
            {"images": ["a.png", "b.png"], "conversations": [
                {"from": "human", "value": "This <image> or <image>?"}, {"from": "gpt", "value": "Red"}]},
            [text("This "), IMAGE, text(" or "), IMAGE, text("?")],
            ("a.png", "b.png"),
            id="ShareGPT",
        ),
        pytest.param(
            {"image": b"\x01", "text": "Which?", "response": "Red"},
            [IMAGE, text("Which?")],
            ("data:;base64,AQ==",),
            id="bytes",
        ),
    ],
)  # fmt: skip
def test_images_stand_where_the_row_has_them(
    value: dict[str, Any], content: list[dict[str, str]], images: tuple[str, ...]
) -> None:
    row = parse_row(value, detect_format(value))

    assert (row.messages[0]["content"], row.images, row.kind) == (content, images, "Vision")


@pytest.mark.parametrize(
    "value", [chat("Which?", images=[]), chat("Which?", images=None), chat([text("Which?")])]
)
def test_a_conversation_without_images_is_one_of_text(value: dict[str, Any]) -> None:
    row = parse_row(value, "Messages")

    assert (row.messages[0]["content"], row.images, row.kind) == ("Which?", (), "Conversation")


def test_a_mark_in_a_row_without_images_is_text() -> None:
    turns = [{"from": "human", "value": "What is <image>?"}, {"from": "gpt", "value": "A mark"}]

    assert parse_row({"conversations": turns}, "ShareGPT").messages[0]["content"] == "What is <image>?"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (chat([IMAGE, IMAGE], images=["a.png"]), "has 2 parts for images, and beside it are 1"),
        (chat([IMAGE], images=["a.png", "b.png"]), "has 1 parts for images, and beside it are 2"),
        (chat("Which?", images="a.png"), 'field "images" must be a list'),
        (chat("Which?", images=["../a.png"]), "which is no plain path"),
        (
            {"images": ["a.png"], "conversations": [
                {"from": "human", "value": "<image><image>"}, {"from": "gpt", "value": "Red"}]},
            'field "conversations" has 2 parts for images, and beside it are 1',
        ),
    ],
)  # fmt: skip
def test_images_that_do_not_fit_their_row_are_refused(value: dict[str, Any], told: str) -> None:
    with pytest.raises(RowError) as raised:
        parse_row(value, detect_format(value))

    assert told in str(raised.value)
