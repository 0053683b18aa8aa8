"""Ask the served model the held-out questions through the OpenAI API, streaming."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI

CONCURRENCY = 8


def ask(
    base_url: str, model: str, prompts: Sequence[str], *, max_tokens: int, on_answer: Callable[[int], None]
) -> list[str]:
    """Return the answer to each prompt, in order, greedily decoded; `on_answer` gets the count so far."""
    client = OpenAI(base_url=f"{base_url}/v1", api_key="unused", timeout=120, max_retries=3)

    def one(prompt: str) -> str:
        stream = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": prompt}],
            max_tokens=max_tokens,
            temperature=0,
            stream=True,
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices).strip()

    answers: list[str] = []
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        for answer in pool.map(one, prompts):
            answers.append(answer)
            on_answer(len(answers))
    return answers
