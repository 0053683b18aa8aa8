"""The arguments that every objective's training takes."""

from __future__ import annotations

from typing import Any

from modelgarden_train.objectives.memory import StepPlan
from modelgarden_train.objectives.scope import Scope
from modelgarden_train.objectives.steps import total_steps, warmup_steps

MAX_GRADIENT_NORM = 1.0
"""Transformers' default."""
LOGS = 500
"""Most times that the loss is logged; more would only fill the trainer's state."""


def training_arguments(scope: Scope, plan: StepPlan) -> dict[str, Any]:
    """Return the arguments that the configuration of every trainer of TRL takes."""
    import torch

    training = scope.config.training
    steps = total_steps(len(scope.rows), effective_batch=plan.effective_batch, epochs=training.epochs)
    bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return {
        "output_dir": str(scope.checkpoints),
        "num_train_epochs": training.epochs,
        # The trainer's batch is the whole step; `passes` splits it by tokens, which rows of any length share alike.
        "per_device_train_batch_size": plan.effective_batch,
        "gradient_accumulation_steps": 1,
        "gradient_checkpointing": plan.gradient_checkpointing,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": warmup_steps(steps, training.warmup_ratio),
        "weight_decay": training.weight_decay,
        "max_grad_norm": MAX_GRADIENT_NORM,
        "optim": "adamw_torch_fused",
        "bf16": bf16,
        "fp16": torch.cuda.is_available() and not bf16,
        "seed": training.seed,
        "data_seed": training.seed,
        "dataloader_num_workers": 0,
        "save_strategy": "steps",
        "save_steps": scope.config.checkpoint.every_steps,
        "save_total_limit": None,
        "logging_strategy": "steps",
        "logging_steps": max(1, steps // LOGS),
        "logging_first_step": True,
        # A loss that is no number would be logged as the mean of the others, and the training go on.
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": "none",
    }
