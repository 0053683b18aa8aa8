"""Puts adapters on the layers of a model that are to have them: with Unsloth, on vision models of a CPU with PEFT alone."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

from modelgarden.api.pods import RunConfig
from modelgarden_pod.errors import UserError
from modelgarden_train.models.loading import is_plain
from modelgarden_train.models.positions import within_positions
from modelgarden_train.models.vision import VISION_PARTS, sees

ALL_LINEAR: Final = "all-linear"
"""PEFT's word for every linear layer but the output's."""
_NOT_SEEING: Final = rf"(?!(.*\.)?({'|'.join(sorted(VISION_PARTS))})\.)"


def with_adapters(config: RunConfig, model: Any, *, gradient_checkpointing: bool) -> Any:
    """Put adapters on the linear layers that are to have them; a model for full training is returned as it is.

    Raises:
        UserError: InvalidConfiguration, there are none of a name.
    """
    import unsloth

    if config.method == "Full":
        return model
    if is_plain(config):
        return _plain_adapters(config, model, checkpointing=gradient_checkpointing)
    lora = config.training.lora
    if config.vision is not None:
        require_layers(config, _linear_names(config, model))
        return unsloth.FastVisionModel.get_peft_model(
            model,
            finetune_vision_layers=config.vision.vision_layers,
            target_modules=list(lora.target_modules) if lora.target_modules else None,
            use_gradient_checkpointing="unsloth" if gradient_checkpointing else False,
            random_state=config.training.seed,
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            bias="none",
            use_rslora=lora.use_rslora,
            use_dora=lora.use_dora,
        )
    return unsloth.FastLanguageModel.get_peft_model(
        model,
        r=lora.rank,
        target_modules=_targets(config, model),
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias="none",
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        use_gradient_checkpointing="unsloth" if gradient_checkpointing else False,
        random_state=config.training.seed,
        max_seq_length=within_positions(config, model.config),
    )


def _targets(config: RunConfig, model: Any) -> str | list[str]:
    require_layers(config, _linear_names(config, model))
    wanted = config.training.lora.target_modules
    return ALL_LINEAR if wanted is None else [*wanted]


def _plain_adapters(config: RunConfig, model: Any, *, checkpointing: bool) -> Any:
    """Put adapters on the layers of a model of Transformers that speak, and on those that see where they are to learn."""
    from peft import LoraConfig, get_peft_model

    lora = config.training.lora
    names = _linear_names(config, model)
    require_layers(config, names)
    wanted = sorted(names if lora.target_modules is None else lora.target_modules)
    within = "" if config.vision and config.vision.vision_layers else _NOT_SEEING
    settings = LoraConfig(
        task_type="CAUSAL_LM",
        target_modules=rf"{within}(.*\.)?({'|'.join(map(re.escape, wanted))})",
        exclude_modules=_head_name(model),
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias="none",
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
    )
    if checkpointing:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    return get_peft_model(model, settings)


def _linear_names(config: RunConfig, model: Any) -> set[str]:
    """Return the last names of the linear layers that adapters may go on: not the output's, nor one that sees and is not
    to learn.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    return {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head and may_learn(config, name)
    }


def may_learn(config: RunConfig, name: str) -> bool:
    """Tell whether adapters may go on a layer of this name: those that see have some where the job asks for it."""
    return config.vision is None or config.vision.vision_layers or not sees(name)


def _head_name(model: Any) -> list[str]:
    head = model.get_output_embeddings()
    return [name for name, module in model.named_modules() if module is head]


def require_layers(config: RunConfig, linear: Collection[str]) -> None:
    """Refuse adapters on layers that a model does not have; the names of its linear layers are given.

    Raises:
        UserError: InvalidConfiguration.
    """
    if config.method == "Full" or config.training.lora.target_modules is None:
        return
    unknown = sorted(set(config.training.lora.target_modules) - set(linear))
    if unknown:
        raise UserError(
            "InvalidConfiguration",
            f"training.lora.targetModules: the base model has no linear layer named {', '.join(unknown)}; it has "
            f"{', '.join(sorted(linear))}. Create a new FineTuneJob with these, or without targetModules",
        )
