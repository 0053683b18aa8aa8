"""Makes a random Llama of about 60,000 parameters with a tokenizer of its own, in the ordinary Hugging Face layout.

Runs in the trainer's environment: `python tests/integration/tiny_model.py FOLDER [--dtype bfloat16] [--plain]`.
With `--sentencepiece` the tokenizer is one that GGUF has, as of Llama 2 and Mistral.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TEXTS = ["Say the number after 1 2 3 4 5 6 7 8 9", "count", "answer"]
SPECIAL = ["<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]


def make_tokenizer(*, chat_template: bool) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of the digits, letters and a few words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 20, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=SPECIAL[1:4],
        chat_template=CHAT_TEMPLATE if chat_template else None,
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


def make_sentencepiece(folder: Path) -> PreTrainedTokenizerBase:
    """Write SentencePiece's own file and return the tokenizer of it; bytes stand for what no piece does."""
    from sentencepiece import SentencePieceTrainer

    pieces = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20),
        model_writer=pieces,
        model_type="bpe",
        vocab_size=340,
        hard_vocab_limit=False,
        byte_fallback=True,
        add_dummy_prefix=False,
        pad_id=-1,
        user_defined_symbols=SPECIAL,
        num_threads=1,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(pieces.getvalue())
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    settings = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": None,
        "unk_token": "<unk>",
        "add_prefix_space": False,
    }
    settings |= {"add_bos_token": False}
    settings |= {"eos_token": "<|end|>", "pad_token": "<|pad|>", "chat_template": CHAT_TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return tokenizer


def make_model(
    folder: Path,
    *,
    dtype: str = "float32",
    chat_template: bool = True,
    hidden: int = 64,
    sentencepiece: bool = False,
) -> None:
    """Write the model's folder; the same arguments give the same weights."""
    torch.manual_seed(7)
    tokenizer = make_sentencepiece(folder) if sentencepiece else make_tokenizer(chat_template=chat_template)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    """Write the model that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--plain", action="store_true", help="leave the chat template out")
    parser.add_argument("--sentencepiece", action="store_true", help="of Llama 2's kind")
    arguments = parser.parse_args()
    make_model(
        arguments.folder,
        dtype=arguments.dtype,
        chat_template=not arguments.plain,
        hidden=arguments.hidden,
        sentencepiece=arguments.sentencepiece,
    )


if __name__ == "__main__":
    main()
