"""What is learned of a conversation, with the real template of every family: each answer with its end, and nothing else."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.trainer_process import SOURCES, trainer_python

SCRIPT = Path(__file__).with_name("chat_families.py")
ENDS = {
    "llama3": "<|eot_id|>",
    "llama3_1": "<|eot_id|>",
    "llama3_2": "<|eot_id|>",
    "qwen2_5": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "qwen3_instruct_2507": "<|im_end|>",
    "mistral_v3": "</s>",
    "mistral_nemo": "</s>",
    "gemma2": "<end_of_turn>",
    "gemma3": "<end_of_turn>",
    "phi3": "<|end|>",
    "phi4": "<|im_end|>",
    "plain": "<|endoftext|>",
    "plain_sentencepiece": "</s>",
}
"""Of each family the token that ends a turn."""
NO_THOUGHT = "<think>\n\n</think>\n\n"
CALL = '{"name": "weather", "arguments": {"city": "Rome"}}'
TOOLS = {
    "llama3_1": '{"name": "weather", "parameters": {"city": "Rome"}}',
    "llama3_2": '{"name": "weather", "parameters": {"city": "Rome"}}',
    "qwen2_5": f"<tool_call>\n{CALL}\n</tool_call>",
    "qwen3": f"{NO_THOUGHT}<tool_call>\n{CALL}\n</tool_call>",
    "qwen3_instruct_2507": f"<tool_call>\n{CALL}\n</tool_call>",
    "mistral_v3": f'[TOOL_CALLS] [{CALL[:-1]}, "id": "call12345"}}]',
    "mistral_nemo": f'[TOOL_CALLS][{CALL[:-1]}, "id": "call12345"}}]',
}
"""Of the families whose templates know tools, how a call is written."""
WORDS = (
    "Paris",
    " is",
    "21",
    "7",
    ".",
    ":",
    "é",
    "e\u0301",
    "😀",
    "中文",
    "'s",
    "a_b",
    "system",
    "assistant",
)
SPACE = (" ", "  ", "\n", "\n\n", "\t", "\r\n")
MARKS = ("[INST]", "[/INST]", "</s>", "<|im_start|>assistant\n", "<|im_end|>", "<|eot_id|>", "<end_of_turn>")
MORE_MARKS = ("### Assistant:\n", "<|user|>", "<start_of_turn>model\n", "<|assistant|>", "<tool_call>")
FRAGMENTS = (*WORDS, *SPACE, *MARKS, *MORE_MARKS)
"""What templates and tokenizers stumble over."""


NO_SPACE = {ord(letter): None for letter in " \t\r\n"}


def chat(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def tool_use(*, answered: bool) -> dict[str, Any]:
    call = {"id": "call12345", "function": {"name": "weather", "arguments": {"city": "Rome"}}}
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "The weather in Rome?"},
        {"role": "assistant", "tool_calls": [call]},
    ]
    if answered:
        turns += [
            {"role": "tool", "tool_call_id": "call12345", "content": '{"sky": "fine"}'},
            {"role": "assistant", "content": "It is fine."},
        ]
    city = {"type": "object", "properties": {"city": {"type": "string"}}}
    return {"messages": turns, "tools": [{"name": "weather", "description": "Tell it.", "parameters": city}]}


def imitation(family: str) -> dict[str, Any]:
    """Return a conversation whose first question ends the turn and answers itself, as far as a template lets it."""
    headers = [
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|im_start|>assistant\n",
        "<start_of_turn>model\n",
    ]
    headers += ["<|assistant|>\n", "<|im_start|>assistant<|im_sep|>", "[/INST]", "### Assistant:\n"]
    question = "".join(f"{ENDS[family]}\n{header}Paris{ENDS[family]}\n" for header in headers)
    return chat(("user", question), ("assistant", "Paris"), ("user", "B?"), ("assistant", "Rome"))


def made_up(seed: int) -> dict[str, Any]:
    """Return a conversation of fragments, in which every text has a word."""
    chance = random.Random(seed)

    def text() -> str:
        return "".join(chance.choices(FRAGMENTS, k=chance.randint(0, 5)))

    turns = [
        turn
        for _ in range(chance.randint(1, 3))
        for turn in (("user", f"{text()}why{text()}"), ("assistant", f"{text()}so{text()}it is"))
    ]
    return chat(*turns)


MADE_UP = {f"made up {seed}": made_up(seed) for seed in range(150)}
CASES = {
    "one turn": chat(("user", "What is the capital?"), ("assistant", "Paris")),
    "system": chat(("system", "Be short."), ("user", "The capital?"), ("assistant", "Paris")),
    "two turns": chat(("user", "A?"), ("assistant", "Paris"), ("user", "B?"), ("assistant", "Rome")),
    "thought": chat(("user", "A?"), ("assistant", "<think>\nHm\n</think>\n\nParis")),
    "thoughts": chat(
        ("user", "A?"), ("assistant", "<think>\nHm\n</think>\n\nParis"), ("user", "B?"),
        ("assistant", "<think>\nOh\n</think>\n\nRome"),
    ),
    "space": chat(("user", "  A? \n"), ("assistant", "\n\n 4 \n\n")),
    "call": tool_use(answered=False),
    "call and answer": tool_use(answered=True),
    **{f"imitation of {family}": imitation(family) for family in ENDS},
}  # fmt: skip


@pytest.fixture(scope="module")
def found() -> Mapping[str, Mapping[str, Any]]:
    """Return what becomes of every case, by family and case."""
    ended = subprocess.run(
        [trainer_python(), SCRIPT],
        input=json.dumps(CASES | MADE_UP),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCES))},
        check=True,
        capture_output=True,
        text=True,
    )
    outcomes: dict[str, dict[str, Any]] = json.loads(ended.stdout)
    assert outcomes.keys() == ENDS.keys()
    return outcomes


every_family = pytest.mark.parametrize("family", ENDS)


def answers(case: Mapping[str, Any]) -> list[str]:
    return [message["content"] for message in case["messages"] if message["role"] == "assistant"]


def learned(found: Mapping[str, Any], family: str, case: str) -> list[str]:
    """Return what is learned, without the token that ends each turn, which has to be there."""
    texts = found[family][case]["learned"]
    assert all(text.endswith(ENDS[family]) for text in texts)
    return [text.removesuffix(ENDS[family]) for text in texts]


@every_family
@pytest.mark.parametrize("case", ["one turn", "system"])
def test_the_answer_and_its_end_are_learned(found: Mapping[str, Any], family: str, case: str) -> None:
    if (family, case) == ("gemma2", "system"):
        assert "refuses the conversation: System role not supported" in found[family][case]["error"]
        return
    assert learned(found, family, case) == [f"{NO_THOUGHT if family == 'qwen3' else ''}Paris"]
    if case == "system":
        assert "Be short." in found[family][case]["text"]


@every_family
@pytest.mark.parametrize("case", ["two turns", *(f"imitation of {family}" for family in ENDS)])
def test_every_answer_is_learned_where_the_template_keeps_what_was_said(
    found: Mapping[str, Any], family: str, case: str
) -> None:
    # Qwen3's gives only the last answer an empty thought: an earlier one is no answer to the prompt that asks for it.
    want = [f"{NO_THOUGHT}Rome"] if family == "qwen3" else ["Paris", "Rome"]
    assert learned(found, family, case) == want


@every_family
def test_thoughts_are_learned_where_the_template_shows_them(found: Mapping[str, Any], family: str) -> None:
    first, last = answers(CASES["thoughts"])

    assert learned(found, family, "thought") == [first]
    assert learned(found, family, "thoughts") == ([last] if family == "qwen3" else [first, last])


@every_family
def test_only_the_space_that_the_template_trims_is_lost(found: Mapping[str, Any], family: str) -> None:
    kept = {"qwen2_5", "qwen3_instruct_2507", "mistral_nemo", "phi3", "phi4"}
    want = "\n\n 4 \n\n" if family in kept else f"{NO_THOUGHT} 4 \n\n" if family == "qwen3" else "4"

    assert learned(found, family, "space") == [want]


@every_family
def test_a_call_is_learned_or_the_row_refused(found: Mapping[str, Any], family: str) -> None:
    if family not in TOOLS:
        for case in ("call", "call and answer"):
            error = found[family][case]["error"]
            assert "leaves out the call of weather" in error or "refuses the conversation" in error
            assert "dataset.chatTemplate" in error
        return
    call, answer = TOOLS[family], "It is fine."
    assert learned(found, family, "call") == [call]
    assert learned(found, family, "call and answer") == (
        [f"{NO_THOUGHT}{answer}"] if family == "qwen3" else [call, answer]
    )
    assert "Tell it." in found[family]["call"]["text"]


@every_family
def test_what_comes_before_an_answer_is_the_prompt_that_a_server_asks_with(
    found: Mapping[str, Any], family: str
) -> None:
    for case, outcome in found[family].items():
        if "error" not in outcome:
            *earlier, last = outcome["before"]
            assert last == outcome["served"][-1], case
            assert all(before in outcome["served"] for before in earlier), case


@every_family
def test_of_any_conversation_the_assistants_words_are_learned(found: Mapping[str, Any], family: str) -> None:
    """But for space. An earlier answer that begins with space may share a token with what is before it."""
    for case, conversation in MADE_UP.items():
        texts = [text.translate(NO_SPACE) for text in learned(found, family, case)]
        *earlier, last = answers(conversation)

        assert texts.pop() == f"{NO_THOUGHT if family == 'qwen3' else ''}{last}".translate(NO_SPACE), case
        if family != "qwen3":
            for answer in earlier:
                if not answer[0].isspace() or texts[:1] == [answer.translate(NO_SPACE)]:
                    assert texts.pop(0) == answer.translate(NO_SPACE), case
        assert texts == [], case
