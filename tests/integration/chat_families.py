"""Encodes conversations with the real chat templates of the families that people train, and prints what is learned.

Runs in the trainer's environment: `python tests/integration/chat_families.py < CASES`. Cases are rows by name; the answer
is JSON by family and case. The templates are those of the pinned TRL (`trl/chat_templates`) and Unsloth (`phi4_template`),
and of Mistral as `chat_templates/README.md` says. The tokenizers are small ones, made here with the special tokens of
their family and built as its own is: byte-level BPE, or SentencePiece's way with spaces.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from modelgarden_train.data.chat import PLAIN_TEMPLATE, encode
from modelgarden_train.data.formats import parse_row
from modelgarden_train.data.rows import Row, RowError

HERE = Path(__file__).parent / "chat_templates"
CORPUS = [
    "What is the capital of France? Paris is the capital.\n\nThe weather in Rome is\n\n21 degrees:\nfine."
] * 20
LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Pattern by which Llama 3's tokenizer, and much like it those of Qwen and Tekken, splits words."""


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _trl(name: str) -> str:
    return (_package("trl") / "chat_templates" / f"{name}.jinja").read_text()


def _unsloth(name: str) -> str:
    """Return a string of Unsloth's module of templates, which is not imported: that patches all of Transformers."""
    tree = ast.parse((_package("unsloth") / "chat_templates.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return str(ast.literal_eval(node.value))
    raise KeyError(name)


def _mistral_nemo() -> str:
    return (HERE / "mistral_nemo.jinja").read_text()


def _mistral_v3() -> str:
    """Return Nemo's template with the spaces that the one of v0.3 has, whose tokenizer is of another kind."""
    spaced = {
        '"[INST]"': '"[INST] "',
        '{{- message["content"] + eos_token}}': '{{- " " + message["content"] | trim + eos_token}}',
        '"[TOOL_CALLS]["': '"[TOOL_CALLS] ["',
        '"[AVAILABLE_TOOLS]["': '"[AVAILABLE_TOOLS] ["',
        '[TOOL_RESULTS]{"content"': '[TOOL_RESULTS] {"content"',
    }
    template = _mistral_nemo()
    for tight, loose in spaced.items():
        assert tight in template
        template = template.replace(tight, loose)
    return template


def byte_level(special: list[str]) -> Tokenizer:
    """Return a tokenizer as those of Llama 3, Qwen, Phi-4 and Tekken are."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(CORPUS, _trainer(special, alphabet))
    return tokenizer


def sentencepiece(special: list[str]) -> Tokenizer:
    """Return a tokenizer that puts a space before a text, as those of Llama 2, Mistral 7B and Phi-3 do."""
    tokenizer = _byte_fallback(special)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def gemma(special: list[str]) -> Tokenizer:
    """Return a tokenizer that replaces spaces and adds none."""
    tokenizer = _byte_fallback(special)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


def _byte_fallback(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer.train_from_iterator(CORPUS, _trainer([*special, "<unk>", *pieces], []))
    tokenizer.normalizer = None
    return tokenizer


def _trainer(special: list[str], alphabet: list[str]) -> trainers.BpeTrainer:
    return trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )


@dataclass(frozen=True)
class Family:
    """A chat template and the tokenizer that it is for."""

    template: Callable[[], str]
    build: Callable[[list[str]], Tokenizer]
    special: tuple[str, ...]
    eos: str
    bos: str | None = None
    not_special: tuple[str, ...] = ()
    right_stripped: tuple[str, ...] = ()
    """Special tokens that take the space behind them."""

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Return the tokenizer, complete."""
        tokenizer = self.build(list(self.special))
        tokenizer.add_special_tokens(
            [AddedToken(one, rstrip=True, normalized=False) for one in self.right_stripped]
        )
        tokenizer.add_tokens([AddedToken(one, normalized=False) for one in self.not_special])
        names = {"bos_token": self.bos} if self.bos else {}
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            eos_token=self.eos,
            pad_token=self.eos,
            chat_template=self.template(),
            clean_up_tokenization_spaces=False,
            **names,
        )


def _llama(template: str) -> Family:
    special = (
        "<|begin_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|python_tag|>",
    )
    return Family(lambda: _trl(template), byte_level, special, eos="<|eot_id|>", bos="<|begin_of_text|>")


def _qwen(template: str) -> Family:
    marks = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    return Family(lambda: _trl(template), byte_level, special, eos="<|im_end|>", not_special=marks)


def _gemma(template: str) -> Family:
    special = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
    return Family(lambda: _trl(template), gemma, special, eos="<eos>", bos="<bos>")


_MISTRAL = ("<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]")
_RESULTS = ("[TOOL_RESULTS]", "[/TOOL_RESULTS]")
_PHI3 = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")

FAMILIES = {
    "llama3": _llama("llama3"),
    "llama3_1": _llama("llama3_1"),
    "llama3_2": _llama("llama3_2"),
    "qwen2_5": _qwen("qwen2_5"),
    "qwen3": _qwen("qwen3"),
    "qwen3_instruct_2507": _qwen("qwen3_instruct_2507"),
    "mistral_v3": Family(_mistral_v3, sentencepiece, _MISTRAL + _RESULTS, eos="</s>", bos="<s>"),
    "mistral_nemo": Family(_mistral_nemo, byte_level, _MISTRAL + _RESULTS, eos="</s>", bos="<s>"),
    "gemma2": _gemma("gemma"),
    "gemma3": _gemma("gemma3"),
    "phi3": Family(
        lambda: _trl("phi3"),
        sentencepiece,
        ("<s>", "<|endoftext|>"),
        eos="<|endoftext|>",
        right_stripped=_PHI3,
    ),
    "phi4": Family(
        lambda: _unsloth("phi4_template"),
        byte_level,
        ("<|endoftext|>", "<|im_start|>", "<|im_sep|>", "<|im_end|>"),
        eos="<|im_end|>",
    ),
    "plain": Family(lambda: PLAIN_TEMPLATE, byte_level, ("<|endoftext|>",), eos="<|endoftext|>"),
    "plain_sentencepiece": Family(
        lambda: PLAIN_TEMPLATE, sentencepiece, ("<s>", "</s>"), eos="</s>", bos="<s>"
    ),
}


def outcomes(family: Family, cases: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what becomes of every case."""
    tokenizer = family.tokenizer()
    rows = [parse_row(value, "Auto") for value in cases.values()]
    for name, row, encoded in zip(cases, rows, encode(tokenizer, rows), strict=True):
        if isinstance(encoded, RowError):
            yield name, {"error": str(encoded)}
            continue
        yield (
            name,
            {
                "learned": [tokenizer.decode(encoded.ids[start:end]) for start, end in encoded.spans],
                "text": tokenizer.decode(encoded.ids),
                "before": [encoded.ids[:start] for start, _ in encoded.spans],
                "served": [served(tokenizer, row, turn) for turn in answers(row)],
            },
        )


def answers(row: Row) -> list[int]:
    """Return the places of the assistant's turns."""
    return [place for place, message in enumerate(row.messages) if message["role"] == "assistant"]


def served(tokenizer: PreTrainedTokenizerFast, row: Row, turn: int) -> list[int]:
    """Return the prompt that a server gives the model to have it answer with a turn."""
    prompt = tokenizer.apply_chat_template(
        list(row.messages[:turn]),
        tools=list(row.tools) or None,
        tokenize=False,
        add_generation_prompt=True,
        strftime_now=datetime(2024, 7, 26, tzinfo=UTC).strftime,
    )
    ids: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    return ids


if __name__ == "__main__":
    given = json.load(sys.stdin)
    json.dump({name: dict(outcomes(family, given)) for name, family in FAMILIES.items()}, sys.stdout)
