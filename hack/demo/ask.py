"""Ask the served model the held-out questions through the OpenAI API, streaming."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from openai import OpenAI
from openai.types.chat import ChatCompletionChunk

CONCURRENCY = 8


@dataclass(frozen=True)
class Answer:
    """What the model said, and the tokens that it generated for it."""

    text: str
    tokens: int


def read_stream(chunks: Iterable[ChatCompletionChunk]) -> Answer:
    """Return the answer of a stream, whose last chunk has its usage."""
    text, tokens = "", 0
    for chunk in chunks:
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        tokens = chunk.usage.completion_tokens if chunk.usage else tokens
    return Answer(text.strip(), tokens)


def ask(
    base_url: str, model: str, prompts: Sequence[str], *, max_tokens: int, on_answer: Callable[[int], None]
) -> list[Answer]:
    """Return the answer to each prompt, in order, greedily decoded; `on_answer` gets the count so far."""
    client = OpenAI(base_url=f"{base_url}/v1", api_key="unused", timeout=120, max_retries=3)

    def one(prompt: str) -> Answer:
        stream = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": prompt}],
            max_tokens=max_tokens,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        return read_stream(stream)

    answers: list[Answer] = []
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        for answer in pool.map(one, prompts):
            answers.append(answer)
            on_answer(len(answers))
    return answers
