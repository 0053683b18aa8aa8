"""The training itself: TRL's SFTTrainer with completion-only loss, checkpoints, and less memory when CUDA runs out."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelgarden_pod.errors import UserError
from modelgarden_train.chat import PLAIN_TEMPLATE, token_ids
from modelgarden_train.checkpoint import Checkpoint, CheckpointUploader
from modelgarden_train.memory import StepPlan, out_of_memory
from modelgarden_train.model import parameter_counts, peak_gpu_memory_mib, release_memory
from modelgarden_train.order import LengthGroupedSampler
from modelgarden_train.prepared import PreparedRow
from modelgarden_train.progress import ProgressBoard
from modelgarden_train.run import Run
from modelgarden_train.signals import StopRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

IGNORED_LABEL = -100
MAX_GRADIENT_NORM = 1.0
"""Transformers' default."""
LOGS = 500
"""Most times that the loss is logged; more would only fill the trainer's state."""


@dataclass
class TokenCount:
    """Tokens that this attempt has trained on, padding left out."""

    tokens: int = 0


@dataclass(frozen=True)
class Scope:
    """What a training run works with beside the model."""

    run: Run
    tokenizer: PreTrainedTokenizerBase
    rows: Sequence[PreparedRow]
    board: ProgressBoard
    uploader: CheckpointUploader
    stop: StopRequest
    base_scores: Path
    """File with the base model's scores, kept in every checkpoint so that no attempt scores it again."""


def tokenized(tokenizer: PreTrainedTokenizerBase, rows: Sequence[PreparedRow]) -> list[dict[str, list[int]]]:
    """Return token ids and labels; the prompt's labels are ignored by the loss."""
    prompts = token_ids(tokenizer, [row.prompt for row in rows])
    completions = token_ids(tokenizer, [row.completion for row in rows])
    return [
        {"input_ids": prompt + completion, "labels": [IGNORED_LABEL] * len(prompt) + completion}
        for prompt, completion in zip(prompts, completions, strict=True)
    ]


def total_steps(rows: int, *, effective_batch: int, epochs: int) -> int:
    """Return the optimizer steps of a run; the last batch of an epoch may be smaller."""
    return math.ceil(rows / effective_batch) * epochs


def fit(scope: Scope, model: Any, *, plan: StepPlan, resume: Checkpoint | None) -> None:
    """Train a model to its last step, or to the step at which SIGTERM has come, and have it checkpointed.

    Raises:
        torch.OutOfMemoryError: the plan does not fit.
        UserError: the loss is no number any more; or storage refused a checkpoint.
    """
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer

    pad = DataCollatorForLanguageModeling(pad_token_id=scope.tokenizer.pad_token_id)
    counted = TokenCount()

    def collate(rows: list[dict[str, list[int]]]) -> Any:
        counted.tokens += sum(len(row["input_ids"]) for row in rows)
        return pad(rows)

    rows = tokenized(scope.tokenizer, scope.rows)
    sampler = LengthGroupedSampler(
        [len(row["input_ids"]) for row in rows],
        batch=plan.effective_batch,
        seed=scope.run.config.training.seed,
    )

    class Trainer(SFTTrainer):  # type: ignore[misc]
        """TRL's trainer with our order of the rows."""

        def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
            return sampler

    trainer = Trainer(
        model=model,
        args=_arguments(scope, plan),
        train_dataset=Dataset.from_list(rows),
        processing_class=scope.tokenizer,
        data_collator=collate,
        callbacks=[_callback(scope, counted)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=str(resume.path) if resume else None)


def does_not_fit(scope: Scope, model: Any, *, plan: StepPlan) -> UserError:
    """Return the failure of a plan that has no smaller one."""
    import torch

    parameters, trainable = parameter_counts(model)
    return out_of_memory(
        plan,
        method=scope.run.config.method,
        parameters=parameters,
        trainable=trainable,
        total_bytes=torch.cuda.get_device_properties(0).total_memory,
        used_bytes=torch.cuda.max_memory_reserved(),
    )


def hyperparameters(scope: Scope, plan: StepPlan) -> dict[str, str]:
    """Return every hyperparameter as used, for the status and the manifest."""
    config = scope.run.config
    training = config.training
    steps = total_steps(len(scope.rows), effective_batch=plan.effective_batch, epochs=training.epochs)
    used = {
        "method": config.method,
        "epochs": training.epochs,
        "steps": steps,
        "learningRate": training.learning_rate,
        "learningRateSchedule": "cosine",
        "warmupSteps": warmup_steps(steps, training.warmup_ratio),
        "weightDecay": training.weight_decay,
        "optimizer": "AdamW",
        "maxGradientNorm": MAX_GRADIENT_NORM,
        "effectiveBatchSize": plan.effective_batch,
        "microBatchSize": plan.micro_batch,
        "gradientAccumulation": plan.gradient_accumulation,
        "gradientCheckpointing": str(plan.gradient_checkpointing).lower(),
        "maxSequenceLength": training.max_sequence_length,
        "seed": training.seed,
        "chatTemplate": "plain" if scope.tokenizer.chat_template == PLAIN_TEMPLATE else "model",
    }
    if config.method != "Full":
        used |= {
            "loraRank": training.lora.rank,
            "loraAlpha": training.lora.alpha,
            "loraDropout": training.lora.dropout,
            "loraTargets": "all-linear",
        }
    return {name: str(value) for name, value in used.items()}


def warmup_steps(steps: int, ratio: float) -> int:
    """Return the steps with a rising learning rate."""
    return math.ceil(steps * ratio)


def _arguments(scope: Scope, plan: StepPlan) -> Any:
    import torch
    from trl import SFTConfig

    training = scope.run.config.training
    steps = total_steps(len(scope.rows), effective_batch=plan.effective_batch, epochs=training.epochs)
    bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return SFTConfig(
        output_dir=str(checkpoints_folder(scope.run)),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=plan.micro_batch,
        gradient_accumulation_steps=plan.gradient_accumulation,
        gradient_checkpointing=plan.gradient_checkpointing,
        learning_rate=training.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=warmup_steps(steps, training.warmup_ratio),
        weight_decay=training.weight_decay,
        max_grad_norm=MAX_GRADIENT_NORM,
        optim="adamw_torch_fused",
        bf16=bf16,
        fp16=torch.cuda.is_available() and not bf16,
        seed=training.seed,
        data_seed=training.seed,
        # Rows come with token ids and labels and none is too long: nothing is left to prepare.
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        packing=False,
        dataloader_num_workers=0,
        save_strategy="steps",
        save_steps=scope.run.config.checkpoint.every_steps,
        save_total_limit=None,
        logging_strategy="steps",
        logging_steps=max(1, steps // LOGS),
        logging_first_step=True,
        disable_tqdm=True,
        report_to="none",
    )


def checkpoints_folder(run: Run) -> Path:
    """Return the local folder of checkpoints."""
    return run.workspace / "checkpoints"


def _callback(scope: Scope, counted: TokenCount) -> Any:
    from transformers import TrainerCallback

    class Follow(TrainerCallback):  # type: ignore[misc]
        """Shows progress, has checkpoints uploaded, and stops at a step where SIGTERM has come."""

        def __init__(self) -> None:
            self.loss: float | None = None

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_save |= state.global_step >= state.max_steps
            if scope.stop.received:
                control.should_save = control.should_training_stop = True
            scope.board.step(
                state.global_step,
                total=state.max_steps,
                epoch=state.epoch or 0.0,
                tokens=counted.tokens,
                loss=self.loss,
            )

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            loss = (logs or {}).get("loss")
            if loss is None:
                return
            self.loss = float(loss)
            if not math.isfinite(self.loss):
                raise UserError(
                    "TrainingFailed",
                    f"the loss became {loss} at step {state.global_step}; lower training.learningRate",
                )
            scope.board.update(gpu_memory_mib=peak_gpu_memory_mib())

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            path = checkpoints_folder(scope.run) / f"checkpoint-{state.global_step}"
            if scope.base_scores.exists():
                shutil.copy(scope.base_scores, path / scope.base_scores.name)
            scope.uploader.submit(Checkpoint(step=state.global_step, path=path))

    return Follow()


def train_within_memory(
    scope: Scope, load: Any, *, plan: StepPlan, resume: Checkpoint | None
) -> tuple[Any, StepPlan]:
    """Train with the plan, and with smaller ones while CUDA runs out of memory; return the model and the plan used.

    `load(plan)` gives a fresh model each time: nothing of a failed try is kept but its newest checkpoint.

    Raises:
        UserError: OutOfMemory, no smaller plan is left.
    """
    from torch import OutOfMemoryError

    while True:
        scope.board.resolved(hyperparameters(scope, plan))
        model = load(plan)
        try:
            fit(scope, model, plan=plan, resume=resume)
        except OutOfMemoryError:
            pass  # left first: the exception keeps every tensor of the failed step alive
        else:
            return model, plan
        smaller = plan.smaller()
        if smaller is None:
            raise does_not_fit(scope, model, plan=plan)
        logger.warning("Out of GPU memory, trying a smaller plan", extra={"plan": str(smaller)})
        del model
        release_memory()
        plan, resume = smaller, scope.uploader.newest_local or resume
