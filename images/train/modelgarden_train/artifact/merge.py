"""Merges an adapter into the 16-bit base on the CPU, where the GPU only has room for the 4 bits that were trained on.

It happens in a process of its own, `python -m modelgarden_train.artifact.merge TASK`, with plain Transformers and PEFT:
Unsloth, once imported, has put kernels that need the GPU in the place of their models' code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelgarden_pod.errors import PodError, UserError
from modelgarden_pod.logs import configure_logs
from modelgarden_pod.process import end_with_parent
from modelgarden_train.artifact.room import SHARD_BYTES, bytes_in_16_bit, memory_advice
from modelgarden_train.data.chat import complete_tokenizer
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.evaluation.inference import completion_losses
from modelgarden_train.models.loading import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class MergeTask:
    """What the other process is to do."""

    base: Path
    adapter: Path
    target: Path
    stop_tokens: tuple[int, ...]
    chat_template: str | None
    """That the dataset gives in the place of the base's own."""
    rows: tuple[PreparedRow, ...]
    """Rows to score with what was written."""

    def to_json(self) -> str:
        """Return the JSON form."""
        rows = [row.to_record() for row in self.rows]
        return json.dumps({**vars(self), "rows": rows}, default=str)

    @classmethod
    def from_json(cls, text: str) -> MergeTask:
        """Read the JSON form."""
        value = json.loads(text)
        return cls(
            base=Path(value["base"]),
            adapter=Path(value["adapter"]),
            target=Path(value["target"]),
            stop_tokens=tuple(value["stop_tokens"]),
            chat_template=value["chat_template"],
            rows=tuple(map(PreparedRow.from_record, value["rows"])),
        )


def merge_on_cpu(task: MergeTask) -> list[list[float]]:
    """Merge in a process of its own; return the losses of the task's rows with the model that was written.

    Raises:
        UserError: OutOfMemory, the process was killed.
        PodError: it failed.
    """
    with tempfile.TemporaryDirectory(dir=task.adapter.parent) as scratch:
        file = Path(scratch) / "task.json"
        file.write_text(task.to_json())
        ended = subprocess.run(
            [sys.executable, "-m", "modelgarden_train.artifact.merge", str(file)],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            stdout=sys.stderr,
            check=False,
        )
        if ended.returncode == 0:
            losses: list[list[float]] = json.loads(_losses_file(file).read_text())
            return losses
    if ended.returncode < 0:
        raise UserError(
            "OutOfMemory",
            f"the merge on the CPU was killed by signal {-ended.returncode}, as a rule for want of memory; "
            f"{memory_advice(bytes_in_16_bit(task.base))}",
        )
    raise PodError(
        "TrainingFailed", "the adapter could not be merged on the CPU; the error is in the log above"
    )


def with_adapter_merged(base: Any, adapter: Path) -> Any:
    """Return the base model with the adapter merged in, in the precision that the base was loaded with."""
    from peft import PeftModel

    return PeftModel.from_pretrained(base, str(adapter)).merge_and_unload(safe_merge=True)


def save_model(
    model: Any,
    target: Path,
    *,
    tokenizer: PreTrainedTokenizerBase,
    stop_tokens: Sequence[int],
    **options: Any,
) -> None:
    """Write a model and its tokenizer so that they can be served; answers end at the stop tokens, too."""
    known = model.generation_config.eos_token_id
    known = [] if known is None else [known] if isinstance(known, int) else known
    model.generation_config.eos_token_id = sorted({*known, *stop_tokens})
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.config.use_cache = True
    model.save_pretrained(target, safe_serialization=True, **options)
    tokenizer.save_pretrained(target)


def storage_dtype(base: Path) -> Any:
    """Return the 16-bit type to store: float16 where the base is float16, else bfloat16, which keeps float32's range."""
    import torch

    settings = json.loads((base / "config.json").read_text())
    name = settings.get("dtype") or settings.get("torch_dtype")
    return torch.float16 if name == "float16" else torch.bfloat16


def _losses_file(task: Path) -> Path:
    return task.with_name("losses.json")


def _do(task: MergeTask) -> list[list[float]]:
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(task.base)
    complete_tokenizer(tokenizer, task.chat_template)
    dtype = storage_dtype(task.base)

    def load(folder: Path) -> Any:
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, device_map="cpu", local_files_only=True, trust_remote_code=False
        )

    model = with_adapter_merged(load(task.base), task.adapter)
    save_model(
        model, task.target, tokenizer=tokenizer, stop_tokens=task.stop_tokens, max_shard_size=SHARD_BYTES
    )
    del model
    return completion_losses(load(task.target).eval(), tokenizer, task.rows)


def main(file: Path) -> None:
    """Do the task in a file and leave the losses beside it."""
    end_with_parent()
    configure_logs()
    losses = _do(MergeTask.from_json(file.read_text()))
    _losses_file(file).write_text(json.dumps(losses))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
