"""Makes the demo's base model where no model hub can be reached: a small Llama that has read the example's text.

It learns to read the questions, to write the queries and to copy names and numbers, each by itself. No question ever
stands beside its query, and every name and number is replaced by a drawn one, so what it cannot do is answer.
Needs torch, transformers and tokenizers only; the same seed and number of threads give the same model.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SEED: Final = 3407
STEPS: Final = 600
BATCH: Final = 16
LEARNING_RATE: Final = 1e-3
WARMUP: Final = 0.05
MOST_TOKENS: Final = 1024
VOCABULARY_MULTIPLE: Final = 64
TOKENIZER_DOCUMENTS: Final = 20_000
HIDDEN: Final = 192
LAYERS: Final = 4
HEAD: Final = 64
FEED_FORWARD: Final = 768
# Llama's usual 0.02 suits wide models. Attention of this width starts flat with it and learns to copy only much later.
INITIAL_DEVIATION: Final = 0.06
CONTEXT: Final = 256
IGNORED: Final = -100

USER: Final = "<|user|>"
ASSISTANT: Final = "<|assistant|>"
END: Final = "<|end|>"
PAD: Final = "<|pad|>"
CHAT_TEMPLATE: Final = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
# A name or a number is the same tokens after a space, a quote or a comma: only then is copying it plain attention.
WORDS: Final = r" ?\p{Lu}{2,}| ?[\p{Ll}_]+|\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]|\s"
VALUE: Final = re.compile(r"'[^']*'|\b\d+\b")
GAP: Final = "{}"
PHRASE: Final = re.compile(r"(?:\b[a-z]+ (?:[a-z]+ )?)?\{\}")


@dataclass(frozen=True)
class Text:
    """The example's questions and queries with a gap for each name and number, and the words of the names."""

    questions: tuple[str, ...]
    queries: tuple[str, ...]
    words: tuple[str, ...]


def read_text(dataset: Path) -> Text:
    """Take questions and queries apart from each other and from their names and numbers."""
    rows = [json.loads(line) for line in dataset.read_text(encoding="utf-8").splitlines()]
    values = {value for row in rows for value in VALUE.findall(row["completion"])}
    names = sorted(
        {value.strip("'") for value in values if value.startswith("'")}, key=lambda name: (-len(name), name)
    )
    known = re.compile("|".join([*map(re.escape, names), r"\b\d+\b"]))
    return Text(
        questions=tuple(sorted({known.sub(GAP, row["prompt"]) for row in rows})),
        queries=tuple(sorted({VALUE.sub(GAP, row["completion"]) for row in rows})),
        words=tuple(sorted({word for name in names for word in name.split()})),
    )


class Lessons:
    """Draws pre-training documents, each a user's text and an assistant's text."""

    def __init__(self, text: Text, seed: int) -> None:
        """Start drawing from the text."""
        self._text = text
        self._random = random.Random(seed)
        self._phrases = sorted({phrase for one in text.questions for phrase in PHRASE.findall(one)})
        self._kinds = (
            self._quoted_phrases,
            self._quoted_phrases,
            self._bound_query,
            self._bound_query,
            self._shuffled_phrases,
            self._repetition,
        )

    def draw(self) -> tuple[str, str]:
        """Return the next document."""
        return self._random.choice(self._kinds)()

    def _quoted_phrases(self) -> tuple[str, str]:
        """A question, and where its names and numbers stand in it, in any order."""
        question = self._random.choice(self._text.questions)
        values = self._values(question.count(GAP))
        found = zip(PHRASE.findall(question), values, strict=True)
        phrases = [phrase.format(_quoted(value)) for phrase, value in found]
        self._random.shuffle(phrases)
        return question.format(*values), ", ".join(phrases)

    def _bound_query(self) -> tuple[str, str]:
        """A prepared statement with its parameters, and the statement that they make."""
        query = self._random.choice(self._text.queries)
        values = [_quoted(value) for value in self._values(query.count(GAP))]
        return f"{query.replace(GAP, '?')}; {', '.join(values)}", query.format(*values)

    def _shuffled_phrases(self) -> tuple[str, str]:
        """Phrases with a name or number each, and the same in another order."""
        phrases = self._random.sample(self._phrases, self._random.randint(2, 5))
        pairs = list(zip(phrases, self._values(len(phrases)), strict=True))
        before = " ".join(phrase.format(value) for phrase, value in pairs)
        self._random.shuffle(pairs)
        return before, ", ".join(phrase.format(_quoted(value)) for phrase, value in pairs)

    def _repetition(self) -> tuple[str, str]:
        """Words and numbers, and the same again once or more."""
        words = " ".join(self._value(most_words=1) for _ in range(self._random.randint(3, 8)))
        return words, " ".join([words] * self._random.randint(1, 3))

    def _values(self, count: int) -> list[str]:
        return [self._value(most_words=2) for _ in range(count)]

    def _value(self, most_words: int) -> str:
        if self._random.random() < 0.5:
            return str(self._random.randint(1, 99))
        return " ".join(
            self._random.choice(self._text.words) for _ in range(self._random.randint(1, most_words))
        )


def _quoted(value: str) -> str:
    return value if value.isdecimal() else f"'{value}'"


def train_tokenizer(lessons: Lessons) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer on drawn documents."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=MOST_TOKENS,
        special_tokens=[PAD, USER, ASSISTANT, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(("\n".join(lessons.draw()) for _ in range(TOKENIZER_DOCUMENTS)), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return a Llama with random weights."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=math.ceil(len(tokenizer) / VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE,
            hidden_size=HIDDEN,
            intermediate_size=FEED_FORWARD,
            num_hidden_layers=LAYERS,
            num_attention_heads=HIDDEN // HEAD,
            num_key_value_heads=HIDDEN // HEAD,
            head_dim=HEAD,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.convert_tokens_to_ids(END),
            pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
            initializer_range=INITIAL_DEVIATION,
            dtype="float32",
        )
    )


def batches(
    tokenizer: PreTrainedTokenizerFast, lessons: Lessons, size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield token ids and labels, padded to the longest document of the batch."""
    while True:
        pairs = [lessons.draw() for _ in range(size)]
        rows = tokenizer([f"{USER}{one}{END}{ASSISTANT}{two}{END}" for one, two in pairs])["input_ids"]
        longest = max(len(row) for row in rows)
        ids = torch.full((size, longest), tokenizer.pad_token_id)
        labels = torch.full((size, longest), IGNORED)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = labels[index, : len(row)] = torch.tensor(row)
        yield ids, labels


def learning_rate(step: int, steps: int) -> float:
    """Return the share of the peak learning rate: linear warm-up, then cosine to a tenth."""
    warm = max(1, int(steps * WARMUP))
    if step < warm:
        return (step + 1) / warm
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def pretrain(
    model: LlamaForCausalLM, documents: Iterator[tuple[torch.Tensor, torch.Tensor]], steps: int
) -> None:
    """Train all weights for a number of steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, steps))
    started = time.monotonic()
    model.train()
    for step, (ids, labels) in zip(range(1, steps + 1), documents, strict=False):
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 50 == 0 or step == steps:
            seconds = time.monotonic() - started
            print(f"step {step}/{steps} loss {loss.item():.3f} {seconds:.0f} s", flush=True)


def main() -> None:
    """Make the model and save it in the Hugging Face layout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--dataset", type=Path, required=True, help="JSON Lines file with prompt and completion"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--steps", type=int, default=STEPS, help="optimizer steps of pre-training")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    text = read_text(arguments.dataset)
    tokenizer = train_tokenizer(Lessons(text, arguments.seed))
    model = new_model(tokenizer)
    print(f"{sum(weight.numel() for weight in model.parameters()):,} parameters", flush=True)
    pretrain(model, batches(tokenizer, Lessons(text, arguments.seed + 1), BATCH), arguments.steps)
    # The type that a merge into this base is stored in; float16 rounds such small weights 8 times finer than bfloat16.
    model.to(torch.float16).save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)


if __name__ == "__main__":
    main()
