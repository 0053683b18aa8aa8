"""The arguments that every objective's training takes."""

from __future__ import annotations

import math
from typing import Any, Final

from modelgarden.api.finetunejob import Optimizer, Schedule, Training
from modelgarden_train.objectives.memory import StepPlan
from modelgarden_train.objectives.scope import Scope

SCHEDULES: Final[dict[Schedule, str]] = {
    "Cosine": "cosine",
    "Linear": "linear",
    "Constant": "constant_with_warmup",
    "InverseSqrt": "inverse_sqrt",
    "WarmupStableDecay": "warmup_stable_decay",
}
"""What Transformers calls them."""
OPTIMIZERS: Final[dict[Optimizer, str]] = {"AdamW": "adamw_torch_fused", "AdamW8bit": "adamw_8bit"}
"""What Transformers calls them; that of 8 bits is bitsandbytes'."""
DECAY_SHARE: Final = 0.1
"""Of the steps, those at the end in which WarmupStableDecay falls, as in its paper
(https://arxiv.org/abs/2404.06395, section 4.3)."""
LOGS: Final = 500
"""Most times that the loss is logged; more would only fill the trainer's state."""


def training_arguments(scope: Scope, plan: StepPlan) -> dict[str, Any]:
    """Return the arguments that the configuration of every trainer of TRL takes."""
    import torch

    training = scope.config.training
    steps = training.steps(len(scope.rows))
    bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return {
        "output_dir": str(scope.checkpoints),
        "max_steps": steps,
        # The trainer's batch is the whole step; `passes` splits it by tokens, which rows of any length share alike.
        "per_device_train_batch_size": plan.effective_batch,
        "gradient_accumulation_steps": 1,
        "gradient_checkpointing": plan.gradient_checkpointing,
        "learning_rate": scope.config.learning_rate,
        **schedule(training, steps),
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_gradient_norm,
        "neftune_noise_alpha": training.neftune_noise_alpha,
        "optim": OPTIMIZERS[training.optimizer],
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


def schedule(training: Training, steps: int) -> dict[str, Any]:
    """Return the arguments that say how the learning rate goes over so many steps."""
    warmup = training.steps_of_warmup(steps)
    chosen = {
        "lr_scheduler_type": SCHEDULES[training.learning_rate_schedule],
        "warmup_steps": warmup,
    }
    if training.learning_rate_schedule != "WarmupStableDecay":
        return chosen
    decay = min(math.ceil(steps * DECAY_SHARE), steps - warmup)
    return {**chosen, "lr_scheduler_kwargs": {"num_decay_steps": decay}}
