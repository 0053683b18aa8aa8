"""The size of a base model, as far as memory depends on it: from its config.json and the shapes of its tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelgarden_train.models.headers import Shapes
from modelgarden_train.objectives.packing import why_padded

_NOT_ADAPTED: Final = ("embed", "lm_head", "norm", "wte", "wpe")
"""In the names of matrices that PEFT's `all-linear` leaves alone and bitsandbytes does not quantize."""
_OF_TEXT: Final = ("text_config", "llm_config", "language_config")
"""Where a model that takes more than text describes the part that reads it."""


_MOST_LAYERS: Final = 10_000
_MOST_WIDTH: Final = 10**8
_MOST_PARAMETERS: Final = 10**13
_MOST_EDGES: Final = 10**10
"""Rows and columns of all matrices together. What has more is no model, but would be more than a number can say."""


@dataclass(frozen=True)
class ModelSize:
    """A decoder's numbers."""

    parameters: int
    active: int
    """Parameters that a token is multiplied with."""
    linear: Mapping[str, tuple[int, int]]
    """Rows and columns of the matrices that adapters may go on, by the tensor's name."""
    layers: int
    hidden: int
    queries: int
    """Width of a layer's queries, over all heads."""
    keys: int
    """Width of its keys, and of its values."""
    inner: int
    """Width between the two halves of the MLP; of a mixture, of all experts that a token goes through."""
    vocabulary: int
    padded: bool
    """Whether it takes rows of a pass padded to one length only."""

    @property
    def quantized(self) -> int:
        """Parameters that QLoRA keeps in 4 bit."""
        return sum(rows * columns for rows, columns in self.linear.values())


def size_of(folder: Path, shapes: Shapes | None) -> ModelSize | None:
    """Return the size of a base model, None where it cannot be told; its config is read as Transformers reads it."""
    if shapes is None:
        return None
    from transformers import AutoConfig

    return model_size(AutoConfig.from_pretrained(folder, local_files_only=True).to_dict(), shapes)


def model_size(config: Mapping[str, Any], shapes: Shapes) -> ModelSize | None:
    """Return the size of a model, None where its config.json does not name what a decoder has."""
    text = next((config[name] for name in _OF_TEXT if isinstance(config.get(name), Mapping)), config)
    layers, hidden = _number(text, "num_hidden_layers"), _number(text, "hidden_size")
    heads, inner = _number(text, "num_attention_heads"), _inner(text)
    if not (layers and hidden and heads and inner):
        return None
    width = _number(text, "head_dim") or hidden // heads
    size = ModelSize(
        parameters=sum(math.prod(shape) for shape in shapes.values()),
        active=_active(text, shapes),
        linear=linear_layers(shapes),
        layers=layers,
        hidden=hidden,
        queries=heads * width,
        keys=(_number(text, "num_key_value_heads") or heads) * width,
        inner=inner,
        vocabulary=_number(text, "vocab_size") or _number(config, "vocab_size"),
        padded=why_padded(config, {}) is not None,
    )
    return size if _is_plausible(size) else None


def linear_layers(shapes: Shapes) -> dict[str, tuple[int, int]]:
    """Return the matrices that adapters may go on: rows and columns by the tensor's name."""
    return {name: (shape[0], shape[1]) for name, shape in shapes.items() if _is_linear(name, shape)}


def layer_of(tensor: str) -> str:
    """Return the name by which `targetModules` means the layer of a tensor: of `a.b.q_proj.weight` it is `q_proj`."""
    return tensor.split(".")[-2]


def _is_plausible(size: ModelSize) -> bool:
    widths = (size.hidden, size.queries, size.keys, size.inner, size.vocabulary)
    return (
        size.layers <= _MOST_LAYERS
        and max(widths) <= _MOST_WIDTH
        and 0 < size.parameters <= _MOST_PARAMETERS
        and sum(map(sum, size.linear.values())) <= _MOST_EDGES
    )


def _active(text: Mapping[str, Any], shapes: Shapes) -> int:
    """Return the parameters that a token is multiplied with; an embedding is looked up, unless it is the output's too."""
    experts = (
        _number(text, "num_experts")
        or _number(text, "num_local_experts")
        or _number(text, "n_routed_experts")
    )
    share = _number(text, "num_experts_per_tok") / experts if experts else 1.0
    own_head = any("lm_head" in name for name in shapes)
    return round(
        sum(
            math.prod(shape) * (share if ".experts." in name else 1.0)
            for name, shape in shapes.items()
            if not (own_head and "embed" in name)
        )
    )


def _inner(text: Mapping[str, Any]) -> int:
    dense = _number(text, "intermediate_size")
    routed = _number(text, "num_experts_per_tok")
    if not routed:
        return dense
    return routed * (_number(text, "moe_intermediate_size") or dense) + _number(
        text, "shared_expert_intermediate_size"
    )


def _is_linear(name: str, shape: tuple[int, ...]) -> bool:
    return name.endswith(".weight") and len(shape) == 2 and not any(part in name for part in _NOT_ADAPTED)


def _number(config: Mapping[str, Any], name: str) -> int:
    """Return a whole number above 0, 0 where there is none."""
    value = config.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
