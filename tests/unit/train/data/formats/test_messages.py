"""Conversations: of OpenAI's and of ShareGPT's form, with tools, with images, and wrong in every way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelgarden_train.data.formats import parse_row
from modelgarden_train.data.formats.messages import MOST_MESSAGES
from modelgarden_train.data.rows import EmptyAnswerError, Row, RowError

WEATHER = {"name": "weather", "description": "Tell the weather.", "parameters": {"type": "object"}}
CALL = {"name": "weather", "arguments": {"city": "Köln"}}
WRAPPED_CALL = {"type": "function", "function": CALL}
TOOL = {"type": "function", "function": WEATHER}


def chat(*turns: tuple[str, Any], **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns], **fields}


def share(*turns: tuple[str, Any], **fields: Any) -> dict[str, Any]:
    return {"conversations": [{"from": speaker, "value": value} for speaker, value in turns], **fields}


def read(value: dict[str, Any]) -> Row:
    return parse_row(value, "Auto")


def test_a_call_and_its_result_are_read_as_templates_take_them() -> None:
    value = {
        "messages": [
            {"role": "developer", "content": "Be short."},
            {"role": "user", "content": "Weather in Köln?"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "call00001", **WRAPPED_CALL}]},
            {"role": "tool", "tool_call_id": "call00001", "content": {"sky": "grau"}},
            {"role": "assistant", "content": "Grau."},
        ],
        "tools": [TOOL],
    }

    row = read(value)

    assert row.messages == (
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Weather in Köln?"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "call00001", **WRAPPED_CALL}]},
        {"role": "tool", "content": '{"sky": "grau"}', "tool_call_id": "call00001"},
        {"role": "assistant", "content": "Grau."},
    )
    assert row.tools == (TOOL,)
    assert row.question == (
        'user: Weather in Köln?\nassistant: {"arguments":{"city":"Köln"},"name":"weather"}\ntool: {"sky": "grau"}'
    )


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(WRAPPED_CALL, id="OpenAI's, with an object"),
        pytest.param(
            {"function": {**CALL, "arguments": '{"city": "K\\u00f6ln"}'}}, id="with the text of an object"
        ),
        pytest.param(CALL, id="without its wrapper"),
    ],
)
def test_arguments_are_the_same_however_they_are_written(call: dict[str, Any]) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [call]}]

    assert read({"messages": turns}).messages[-1]["tool_calls"] == [WRAPPED_CALL]


@pytest.mark.parametrize("tools", [[TOOL], [WEATHER], json.dumps([TOOL])], ids=["wrapped", "bare", "text"])
def test_tools_are_the_same_however_they_are_written(tools: Any) -> None:
    assert read(chat(("user", "a"), ("assistant", "b"), tools=tools)).tools == (TOOL,)
    assert read(share(("human", "a"), ("gpt", "b"), tools=tools)).tools == (TOOL,)


@pytest.mark.parametrize("tools", [None, [], "[]"])
def test_no_tools_leave_a_row_as_it_is(tools: Any) -> None:
    assert read(chat(("user", "a"), ("assistant", "b"), tools=tools)) == read(
        chat(("user", "a"), ("assistant", "b"))
    )


def test_sharegpt_means_the_same_conversation() -> None:
    shared = share(
        ("system", "Be short."),
        ("human", "Weather?"),
        ("function_call", json.dumps(CALL)),
        ("observation", ""),
        ("gpt", "Grau."),
    )
    want = {
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "content": ""},
            {"role": "assistant", "content": "Grau."},
        ]
    }

    assert read(shared) == read(want)
    assert read(share(("user", "a"), ("assistant", "b"), system="S")).messages[0] == {
        "role": "system",
        "content": "S",
    }


def test_text_parts_are_a_text_and_image_parts_a_vision_row() -> None:
    text = [{"type": "text", "text": "What is "}, {"type": "text", "text": "this?"}]
    image = {"type": "image", "image": "images/1.png"}
    url = {"type": "image_url", "image_url": {"url": "images/2.png"}}

    plain = read(chat(("user", text), ("assistant", "A cat")))
    seen = read(chat(("user", [*text, image, url]), ("assistant", "Two cats")))

    assert (plain.question, plain.kind) == ("What is this?", "Conversation")
    assert (seen.images, seen.kind) == (("images/1.png", "images/2.png"), "Vision")
    assert seen.messages[0]["content"] == [*text, {"type": "image"}, {"type": "image"}]
    assert seen.question == "What is \nthis?\n[image]\n[image]"


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (chat(("user", "a"), ("assistant", "b"), ("assistant", "c")), "[2]\" is a second answer in a row"),
        (chat(("user", "a"), ("assistant", "b"), ("assistant", "c"), ("user", "d"), ("assistant", "e")),
         '"messages[2]" is a second'),
        (chat(("assistant", "a"), ("user", "b"), ("assistant", "c")), '"messages[0]" is an answer before any question'),
        (chat(("system", "s"), ("assistant", "a"), ("user", "b"), ("assistant", "c")), '[1]" is an answer before'),
        (chat(("user", "a"), ("tool", "b"), ("assistant", "c")), "is a tool's result, but no assistant's turn"),
        (chat(("user", "a\0b"), ("assistant", "c")), "has a NUL character at position 2; remove it"),
        (chat(("user", ["a"]), ("assistant", "c")), '"messages[0].content[0]" must be an object, found a string'),
        (chat(("user", [{"type": "audio"}]), ("assistant", "c")), "content[0].type\" is 'audio'; use text or image"),
        (chat(("user", [{"type": 4}]), ("assistant", "c")), 'content[0].type" is a number'),
        (chat(("user", [{"type": "text"}]), ("assistant", "c")), 'content[0].text" must be a string, found null'),
        (chat(("user", [{"type": "image"}]), ("assistant", "c")), 'has 1 parts for images, and beside it are 0'),
        (chat(("user", [{"type": "image_url"}]), ("assistant", "c")), 'content[0].image_url" is missing'),
        (chat(("user", 5), ("assistant", "c")), "must be a string, found a number; write it in quotes"),
        (chat(("user", "a"), ("assistant", [{"type": "image", "image": "a.png"}])), "only messages of the role user may"),
        (chat(("user", "a"), ("assistant", "b"), tools=4), '"tools" must be a list, found a number'),
        (chat(("user", "a"), ("assistant", "b"), tools="[{"), '"tools" must be JSON'),
        (chat(("user", "a"), ("assistant", "b"), tools=[{}]), '"tools[0].name" is missing'),
        (chat(("user", "a"), ("assistant", "b"), tools=[{"function": []}]), '"tools[0].function" must be an object'),
        (chat(*[("user", "a")] * MOST_MESSAGES, ("assistant", "b")), "split it into rows of at most 2000"),
        (share(*[("human", "a")] * MOST_MESSAGES, ("gpt", "b")), "split it into rows of at most 2000"),
        (share(("human", "a")), '"conversations" must end with a message of the role assistant'),
        (share(("gpt", "a"), ("human", "b"), ("gpt", "c")), '"conversations[0]" is an answer before any question'),
        (share(("bing", "a"), ("gpt", "b")), "is 'bing'; use one of system, human"),
        (share(("human", "a"), ("function_call", "weather()")), '"conversations[1].value" must be JSON'),
        (share(("human", "a"), ("function_call", "[]")), '"conversations[1].value" is empty'),
        (share(("human", "a"), ("function_call", 4)), '"conversations[1].value" must be an object, found a number'),
        (share(("human", "a"), ("gpt", "b"), system=3), '"system" must be a string'),
        ({"conversations": chat(("user", "a"), ("assistant", "b"))["messages"]}, "columns: {messages: conversations}"),
    ],
)  # fmt: skip
def test_a_wrong_conversation_says_what_and_where(value: dict[str, Any], want: str) -> None:
    with pytest.raises(RowError) as raised:
        read(value)

    assert want in str(raised.value)


def with_call(call: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": call}]}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("call", "want"),
    [
        ({}, '"messages[1].content" is missing'),
        ("x", '"messages[1].tool_calls" must be a list, found a string'),
        (["x"], 'tool_calls[0]" must be an object, found a string'),
        ([{"function": {}}], 'tool_calls[0].function.name" is missing'),
        ([{**CALL, "id": 5}], 'tool_calls[0].id" must be a string'),
        ([{**CALL, "arguments": "{"}], 'tool_calls[0].arguments" must be JSON'),
        ([{**CALL, "arguments": "[1]"}], 'tool_calls[0].arguments" must be an object, found a list'),
        ([{**CALL, "arguments": {"x": "\ud800"}}], 'tool_calls[0].arguments" has half of a character'),
        ([{**CALL, "arguments": {"\0": 1}}], 'tool_calls[0].arguments" has a NUL character'),
        ([{**CALL, "arguments": {"x": float("inf")}}], 'arguments" has a number that is too large'),
        ([{**CALL, "arguments": '{"x": NaN}'}], 'arguments" has a number that is too large'),
        ([{**CALL, "arguments": {"x": nested(70)}}], "more than 64 lists and objects in each other"),
        ([{**CALL, "arguments": f'{{"x": {"[" * 100_000}'}], "nested too deeply"),
        ([{**CALL, "arguments": f'{{"x": {"9" * 5000}}}'}], 'arguments" must be JSON'),
    ],
)
def test_a_wrong_call_says_what_and_where(call: Any, want: str) -> None:
    with pytest.raises(RowError) as raised:
        read(with_call(call))

    assert want in str(raised.value)


def test_calls_of_somebody_else_are_refused() -> None:
    value = chat(("user", "a"), ("assistant", "b"))
    value["messages"][0]["tool_calls"] = [CALL]

    with pytest.raises(RowError, match="is for messages of the role assistant only"):
        read(value)


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": "a", "completion": " \n"},
        {"instruction": "a", "output": ""},
        {"instruction": "a", "response": ""},
        {"prompt": "a", "answer": ""},
        {"prompt": "a", "chosen": "", "rejected": "b"},
        {"prompt": "a", "chosen": [], "rejected": "b"},
        {"image": "a.png", "text": "a", "response": ""},
        chat(("user", "a"), ("assistant", "")),
        chat(("user", "a"), ("assistant", []), ("user", "a"), ("assistant", "b")),
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "", "tool_calls": []}]},
        share(("human", "a"), ("gpt", " ")),
    ],
)  # fmt: skip
def test_an_empty_answer_is_told_apart_from_other_faults(value: dict[str, Any]) -> None:
    with pytest.raises(EmptyAnswerError, match=r"is empty$"):
        read(value)
