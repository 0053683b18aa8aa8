"""Loads the base model with Unsloth. `import unsloth` comes before the other libraries."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelgarden.api.pods import RunConfig
from modelgarden_pod.errors import PodError, UserError
from modelgarden_train.models.environment import without_gpus
from modelgarden_train.models.positions import longest_row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


def import_unsloth(config: RunConfig) -> None:
    """Import Unsloth, which must come before Transformers, TRL and PEFT to patch them.

    Raises:
        PodError: a GPU was asked for and CUDA sees none; another node may.
    """
    import torch

    if config.gpus and not without_gpus(os.environ) and not torch.cuda.is_available():
        raise PodError(
            "TrainingFailed",
            "the pod was given a GPU, but CUDA finds none: check the node's driver and container runtime",
        )
    with redirect_stdout(sys.stderr):
        import unsloth  # noqa: F401


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model folder.

    Raises:
        UserError: ModelInvalid, there is none or it is broken.
    """
    from transformers import AutoConfig, AutoTokenizer

    try:
        AutoConfig.from_pretrained(folder, local_files_only=True)
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # every library beneath raises its own
        raise UserError("ModelInvalid", f"the base model's tokenizer cannot be loaded: {error}") from error


def load_model(
    config: RunConfig, folder: Path, *, four_bit: bool, gradient_checkpointing: bool = False
) -> Any:
    """Load a model folder: 4 bit for QLoRA, else 16 bit on a GPU and 32 bit on a CPU.

    Raises:
        UserError: ModelInvalid, its files are broken or of an unknown architecture.
        torch.OutOfMemoryError: the GPU does not hold it.
    """
    from torch import OutOfMemoryError

    before, started = _times_out_of_memory(), time.monotonic()
    try:
        if is_plain(config):
            model = _plain_vision_model(folder)
        else:
            model = _unsloth_model(config, folder, four_bit=four_bit, checkpointing=gradient_checkpointing)
    except OutOfMemoryError:
        raise
    except Exception as error:  # every library beneath raises its own
        if _times_out_of_memory() > before:  # Transformers logs it and raises that some weights are missing
            raise OutOfMemoryError("the GPU ran out of memory while the weights were loaded") from error
        raise UserError("ModelInvalid", f"the base model cannot be loaded: {error}") from error
    seconds = round(time.monotonic() - started, 1)
    logger.info("Loaded the model", extra={"folder": folder.name, "fourBit": four_bit, "seconds": seconds})
    return model


def is_plain(config: RunConfig) -> bool:
    """Tell whether a model is Transformers' own: Unsloth has no vision models on a CPU."""
    import torch

    return config.vision is not None and not torch.cuda.is_available()


def _plain_vision_model(folder: Path) -> Any:
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(
        folder, dtype=compute_dtype(), local_files_only=True, trust_remote_code=False
    )


def _unsloth_model(config: RunConfig, folder: Path, *, four_bit: bool, checkpointing: bool) -> Any:
    import unsloth

    loader = unsloth.FastVisionModel if config.vision else unsloth.FastLanguageModel
    model, _ = loader.from_pretrained(
        model_name=str(folder),
        max_seq_length=longest_row(config, folder),
        dtype=compute_dtype(),
        load_in_4bit=four_bit,
        load_in_16bit=not four_bit,
        full_finetuning=config.method == "Full",
        use_gradient_checkpointing="unsloth" if checkpointing else False,
        use_exact_model_name=True,
        local_files_only=True,
        trust_remote_code=False,
        random_state=config.training.seed,
    )
    return model


def _times_out_of_memory() -> int:
    """Return how often CUDA has run out of memory in this process."""
    import torch

    return int(torch.cuda.memory_stats().get("num_ooms", 0)) if torch.cuda.is_available() else 0


def compute_dtype() -> Any:
    """Return the type of the weights that are not quantized."""
    import torch

    if not torch.cuda.is_available():
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def parameter_counts(model: Any) -> tuple[int, int]:
    """Return all parameters and the trained ones."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def peak_gpu_memory_mib() -> int | None:
    """Return the peak of the memory that this process reserved on the GPU, None on a CPU."""
    import torch

    return torch.cuda.max_memory_reserved() // 2**20 if torch.cuda.is_available() else None


def release_memory() -> None:
    """Give freed memory back to the device."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def inference(model: Any) -> Iterator[None]:
    """Switch a model to inference, and back to how it was trained."""
    import unsloth

    training = model.training
    checkpointing = bool(getattr(model, "is_gradient_checkpointing", False))
    vision = hasattr(model.config, "vision_config")
    kind = unsloth.FastVisionModel if vision else unsloth.FastLanguageModel
    kind.for_inference(model)
    try:
        yield
    finally:
        if training:
            kind.for_training(model, use_gradient_checkpointing=checkpointing)
