"""The rivals of bench/training.py, as people write them: bare Unsloth and TRL alone. Also makes the model.

    python training_rivals.py make-model FOLDER
    python training_rivals.py CONTESTANT BATCH ROWS MODEL DATASET STARTED

Prints JSON on its last line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LORA_RANK = 32
LONGEST = 2048
MEASURED_SECONDS = 25.0
WARM_STEPS = {16: 12, 64: 4}
LLAMA_8B = {
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "rope_theta": 500_000.0,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}


def make_model(folder: Path) -> None:
    """Write a random Llama of 8 B parameters in bfloat16 and a tokenizer with one token for each byte."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|begin|>", "<|end|>", "<|pad|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=special[0],
        eos_token=special[1],
        pad_token=special[2],
        chat_template="{% for m in messages %}{{ '|' + m['content'] }}{% if m['role'] == 'assistant' %}"
        "{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '|' }}{% endif %}",
    ).save_pretrained(folder)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(LlamaConfig(**LLAMA_8B))
    model.save_pretrained(folder, max_shard_size="4GB")


class Watch:
    """Counts real tokens as they are collated and notes times; ends the training once it is measured."""

    def __init__(self, batch: int, started: float, collate: Callable[[Any], Any]) -> None:
        self.tokens, self._collate = 0, collate
        self._warm, self._started = WARM_STEPS[batch], started
        self.first_step = 0.0
        self._from: tuple[float, int] | None = None
        self.tokens_per_second = 0.0

    def collate(self, rows: list[dict[str, Any]]) -> Any:
        """Collate as the trainer would."""
        self.tokens += sum(len(row["input_ids"]) for row in rows)
        return self._collate(rows)

    def after(self, step: int) -> bool:
        """Note a finished step; tell whether all is measured."""
        import torch

        measured = self._from is not None and time.time() - self._from[0] >= MEASURED_SECONDS
        if measured or step in (1, self._warm):
            torch.cuda.synchronize()  # not after every step: the next one is launched meanwhile
        now = time.time()
        if step == 1:
            self.first_step = now - self._started
        if step == self._warm:
            self._from = now, self.tokens
        if self._from is None or not measured:
            return False
        self.tokens_per_second = (self.tokens - self._from[1]) / (now - self._from[0])
        return True


def arguments(contestant: str, batch: int, rows: str) -> dict[str, Any]:
    """Return the arguments that differ: how a step is split, and checkpointing."""
    micro = {
        # What went fastest by hand: all short rows of a step at once, of long ones what an 80 GB card holds.
        "unsloth": {"chat": batch, "long": 4}[rows],
        "unsloth-default": 2,
        "trl": 2,
    }[contestant]
    return {"per_device_train_batch_size": micro, "gradient_accumulation_steps": batch // micro}


def load(contestant: str, model: str) -> tuple[Any, Any]:
    """Return a model with adapters, and its tokenizer."""
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    if contestant == "trl":
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM, AutoTokenizer

        base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16, device_map="cuda")
        adapters = LoraConfig(
            r=LORA_RANK, lora_alpha=LORA_RANK, target_modules=targets, task_type="CAUSAL_LM"
        )
        return get_peft_model(base, adapters), AutoTokenizer.from_pretrained(model)
    from unsloth import FastLanguageModel

    checkpointing = "unsloth" if contestant == "unsloth-default" else False
    base, tokenizer = FastLanguageModel.from_pretrained(
        model, max_seq_length=LONGEST, load_in_4bit=False, use_gradient_checkpointing=checkpointing
    )
    tuned = FastLanguageModel.get_peft_model(
        base,
        r=LORA_RANK,
        lora_alpha=LORA_RANK,
        target_modules=targets,
        use_gradient_checkpointing=checkpointing,
    )
    return tuned, tokenizer


def train(contestant: str, batch: int, rows: str, model: str, dataset: str, started: float) -> dict[str, Any]:
    """Train until measured."""
    if contestant != "trl":
        import unsloth  # noqa: F401 -- first
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    tuned, tokenizer = load(contestant, model)
    lines = [json.loads(line) for line in Path(dataset).read_text().splitlines()]
    texts = [f"|{one['prompt']}|{one['completion']}" for one in lines]
    trainer = SFTTrainer(
        model=tuned,
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict({"text": texts}),
        args=SFTConfig(
            **arguments(contestant, batch, rows),
            gradient_checkpointing=contestant in ("unsloth-default", "trl"),
            dataset_text_field="text",
            max_length=LONGEST,
            num_train_epochs=50,
            learning_rate=2e-4,
            optim="adamw_8bit" if contestant.startswith("unsloth") else "adamw_torch_fused",
            bf16=True,
            logging_steps=1 if contestant == "unsloth-default" else 10,
            save_strategy="no",
            report_to="none",
            seed=42,
            output_dir="out",
            disable_tqdm=True,
        ),
    )
    watch = Watch(batch, started, trainer.data_collator)
    trainer.data_collator = watch.collate

    class Stop(TrainerCallback):  # type: ignore[misc]
        """Ends the training once it is measured."""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = watch.after(state.global_step)

    trainer.add_callback(Stop())
    trainer.train()
    return {
        "tokens_per_second": watch.tokens_per_second,
        "first_step": watch.first_step,
        "used": {
            "padding_free": getattr(trainer.args, "padding_free", None),
            "gpuMemoryMiB": torch.cuda.max_memory_reserved() // 2**20,
        },
    }


if __name__ == "__main__":
    if sys.argv[1] == "make-model":
        make_model(Path(sys.argv[2]))
    else:
        name, size, kind, folder, file, began = sys.argv[1:]
        print(json.dumps(train(name, int(size), kind, folder, file, float(began))))
