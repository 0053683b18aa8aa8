"""Makes a random Llama of about 60,000 parameters with a tokenizer of its own, in the ordinary Hugging Face layout.

Runs in the trainer's environment: `python tests/integration/tiny_model.py FOLDER [--dtype bfloat16] [--plain]`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
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
    tokenizer.train_from_iterator(["Say the number after 1 2 3 4 5 6 7 8 9", "count", "answer"] * 20, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=SPECIAL[1:4],
        chat_template=CHAT_TEMPLATE if chat_template else None,
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


def make_model(folder: Path, *, dtype: str = "float32", chat_template: bool = True, hidden: int = 64) -> None:
    """Write the model's folder; the same arguments give the same weights."""
    torch.manual_seed(7)
    tokenizer = make_tokenizer(chat_template=chat_template)
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
    arguments = parser.parse_args()
    make_model(
        arguments.folder, dtype=arguments.dtype, chat_template=not arguments.plain, hidden=arguments.hidden
    )


if __name__ == "__main__":
    main()
