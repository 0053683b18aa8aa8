"""The hyperparameters of a training, read from what the trainer really has: its arguments, its state, its model."""

from __future__ import annotations

from enum import Enum
from typing import Any

from modelgarden.api.finetunejob import Objective, Training
from modelgarden.api.pods import RunConfig
from modelgarden_train.data.chat import PLAIN_TEMPLATE
from modelgarden_train.models.adapters import ALL_LINEAR
from modelgarden_train.models.positions import within_positions
from modelgarden_train.objectives.arguments import OPTIMIZERS, SCHEDULES
from modelgarden_train.objectives.passes import Passes
from modelgarden_train.objectives.scope import Scope

_OPTIMIZERS = {theirs: ours for ours, theirs in OPTIMIZERS.items()}
_SCHEDULES = {theirs: ours for ours, theirs in SCHEDULES.items()}


def hyperparameters(
    scope: Scope, *, arguments: Any, passes: Passes, steps: int, model: Any
) -> dict[str, str]:
    """Return every hyperparameter as used, for the status and the manifest; `arguments` are Transformers' own."""
    config, plan = scope.config, passes.plan
    optimizer, schedule = _name(arguments.optim), _name(arguments.lr_scheduler_type)
    used = {
        "method": config.method,
        "objective": config.objective.type,
        **_of_the_objective(config.objective),
        "epochs": f"{config.training.epochs_in(steps, len(scope.rows)):.4g}",
        "steps": steps,
        "learningRate": arguments.learning_rate,
        "learningRateSchedule": _SCHEDULES.get(schedule, schedule),
        "warmupSteps": arguments.warmup_steps,
        "weightDecay": arguments.weight_decay,
        "optimizer": _OPTIMIZERS.get(optimizer, optimizer),
        "maxGradientNorm": arguments.max_grad_norm,
        "effectiveBatchSize": arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps,
        "batching": "padding-free" if passes.form.why_padded is None else f"padded: {passes.form.why_padded}",
        "tokensPerPass": plan.budget,
        "gradientCheckpointing": str(arguments.gradient_checkpointing).lower(),
        "maxSequenceLength": within_positions(config, model.config),
        "seed": arguments.seed,
        "chatTemplate": _template(scope),
    }
    if scope.ranks.size > 1:
        used["processes"] = scope.ranks.size
    if config.nodes > 1:
        used["nodes"] = config.nodes
    if arguments.neftune_noise_alpha is not None:
        used["neftuneNoiseAlpha"] = arguments.neftune_noise_alpha
    if config.vision is not None:
        used["maxPixels"] = config.vision.max_pixels
        used["visionLayers"] = str(config.vision.vision_layers).lower()
    if (scaling := config.training.rope_scaling) is not None:
        used["ropeScaling"] = f"{scaling.type} x {scaling.factor:g}"
    used |= _of_the_validation(config.training)
    adapters = getattr(model, "peft_config", None)
    if adapters:
        adapter = next(iter(adapters.values()))
        used |= {
            "loraRank": adapter.r,
            "loraAlpha": adapter.lora_alpha,
            "loraDropout": adapter.lora_dropout,
            "loraTargets": _targets(config),
        }
        used |= {
            name: "true"
            for name, chosen in (("loraUseRslora", adapter.use_rslora), ("loraUseDora", adapter.use_dora))
            if chosen
        }
    return {name: str(value) for name, value in used.items()}


def _of_the_objective(objective: Objective) -> dict[str, Any]:
    """Return the settings of the objective's own block, by their names there."""
    settings = objective.settings
    told = settings.model_dump(by_alias=True) if settings is not None else {}
    if objective.grpo is not None:
        told["rewards"] = ", ".join(f"{reward.type} x {reward.weight:g}" for reward in objective.grpo.rewards)
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in told.items()}


def _of_the_validation(training: Training) -> dict[str, Any]:
    used: dict[str, Any] = {}
    if training.validation is not None:
        used["validationEverySteps"] = training.validation.every_steps
    if training.early_stopping is not None:
        used["earlyStoppingPatience"] = training.early_stopping.patience
        used["earlyStoppingMinDelta"] = training.early_stopping.min_delta
    return used


def _targets(config: RunConfig) -> str:
    targets = config.training.lora.target_modules
    return ALL_LINEAR if targets is None else ", ".join(targets)


def _template(scope: Scope) -> str:
    """Return where the chat template comes from."""
    if scope.config.dataset.chat_template is not None:
        return "dataset"
    return "plain" if scope.tokenizer.chat_template == PLAIN_TEMPLATE else "model"


def _name(choice: Any) -> str:
    """Return the name of a choice that Transformers may have made an enumeration of."""
    return str(choice.value if isinstance(choice, Enum) else choice)
