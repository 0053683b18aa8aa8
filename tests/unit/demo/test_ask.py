"""Answers as they stream: the text in one piece, and the tokens that its energy is counted by."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk

from hack.demo.ask import Answer, read_stream


def chunk(text: str | None = None, *, tokens: int | None = None) -> ChatCompletionChunk:
    """Return a chunk as vLLM sends it: the usage alone, after the last one with text."""
    body: dict[str, Any] = {"id": "1", "created": 0, "model": "m", "object": "chat.completion.chunk"}
    choices = [] if text is None else [{"index": 0, "delta": {"content": text}}]
    usage = {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + (tokens or 0)}
    return ChatCompletionChunk.model_validate(
        {**body, "choices": choices, "usage": usage if tokens else None}
    )


@pytest.mark.parametrize(
    ("chunks", "want"),
    [
        ([chunk("SELECT"), chunk(" 1 "), chunk(tokens=4)], Answer("SELECT 1", 4)),
        ([chunk(""), chunk(tokens=1)], Answer("", 1)),
        ([chunk("SELECT 1")], Answer("SELECT 1", 0)),
    ],
    ids=["text in pieces", "nothing but the end", "a server that tells no usage"],
)
def test_an_answer_is_its_text_and_its_tokens(chunks: list[ChatCompletionChunk], want: Answer) -> None:
    assert read_stream(chunks) == want
