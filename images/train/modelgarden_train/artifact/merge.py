"""Merges adapters into the base model's own files, tensor by tensor: no second model is held, whatever was trained on.

So a QLoRA adapter is merged into the 16 bits that the 4-bit weights were made of, on a GPU that could not hold them.
What was written is then scored by the trained model itself, whose adapted layers read their weights from the new files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelgarden_pod.errors import UserError
from modelgarden_train.models.files import INDEX
from modelgarden_train.models.loading import compute_dtype
from modelgarden_train.models.weights import Weights, tensor_of

SHARD_BYTES: Final = 2 * 1024**3
"""Largest file of weights, but for a larger tensor; writing one holds it in the pod's memory, and a copy of it."""
_ADAPTER: Final = "default"
"""What PEFT names an adapter that is given no name."""
_PATTERN: Final = "model{suffix}.safetensors"


@dataclass(frozen=True)
class Adapted:
    """A layer with an adapter, as PEFT has wrapped it."""

    path: str
    """Where it is in the model that carries the adapters."""
    layer: Any

    @property
    def shape(self) -> tuple[int, int]:
        """Of its whole weight, as the files have it."""
        wide, high = self.layer.in_features, self.layer.out_features
        return (wide, high) if self.layer.fan_in_fan_out else (high, wide)

    def merged(self, weight: Any) -> Any:
        """Return W + s B A in 32 bits, on the layer's device (LoRA, https://arxiv.org/abs/2106.09685).

        With DoRA its rows are scaled to the magnitudes that were learned (https://arxiv.org/abs/2402.09353, equation 5).
        """
        up, down = self.layer.lora_B[_ADAPTER].weight, self.layer.lora_A[_ADAPTER].weight
        change = self.layer.scaling[_ADAPTER] * (up.float() @ down.float())
        turned = self.layer.fan_in_fan_out
        whole = weight.to(change.device).float() + (change.T if turned else change)
        if _ADAPTER not in self.layer.lora_magnitude_vector:
            return whole
        learned = self.layer.lora_magnitude_vector[_ADAPTER].weight.float()
        scale = learned / whole.norm(dim=0 if turned else 1)
        return whole * (scale if turned else scale[:, None])


def adapted_tensors(model: Any, base: Weights) -> dict[str, Adapted]:
    """Return the adapted layers of a model by the tensors of the base model's files that they change.

    Raises:
        UserError: ModelInvalid, a layer's weight is not among them.
    """
    from peft.tuners.lora import LoraLayer

    names = frozenset(base)
    found: dict[str, Adapted] = {}
    for path, module in _carrier(model).named_modules():
        if isinstance(module, LoraLayer):
            adapted = Adapted(path, module)
            name = tensor_of(path, names)
            if name is None or name in found or base.shape(name) != adapted.shape:
                raise _not_in_the_files(adapted, name)
            found[name] = adapted
    return found


def write_merged(
    base: Weights,
    adapted: Mapping[str, Adapted],
    target: Path,
    *,
    dtype: Any,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write the base model's tensors with the adapters merged in; what has more than 16 bits gets the type."""
    import torch
    from huggingface_hub import split_state_dict_into_shards_factory
    from safetensors.torch import save_file

    def stored(name: str) -> torch.Tensor:
        weight = base.read(name)
        with torch.no_grad():
            whole = adapted[name].merged(weight) if name in adapted else weight
            return whole.to(_kept_type(weight, dtype)).cpu().contiguous()

    # Tensors are mapped, not read.
    sizes = {name: _bytes(base.read(name), dtype) for name in base}
    shards = split_state_dict_into_shards_factory(
        sizes, get_storage_size=int, filename_pattern=_PATTERN, max_shard_size=shard_bytes
    )
    target.mkdir(parents=True, exist_ok=True)
    for file, names in shards.filename_to_tensors.items():
        save_file({name: stored(name) for name in names}, target / file, metadata={"format": "pt"})
    if shards.is_sharded:
        index = {"metadata": shards.metadata, "weight_map": shards.tensor_to_filename}
        (target / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True))


def read_from(model: Any, adapted: Mapping[str, Adapted], written: Weights) -> None:
    """Have a model's adapted layers compute with what was written, in the place of base and adapter.

    A layer reads its weight whenever it is used, so that the model takes no more memory than before.
    """
    carrier = _carrier(model)
    for name, layer in adapted.items():
        parent, _, child = layer.path.rpartition(".")
        setattr(carrier.get_submodule(parent), child, _reading(layer.layer, written, name))


def _reading(layer: Any, written: Weights, name: str) -> Any:
    import torch

    device, dtype, turned = layer.lora_A[_ADAPTER].weight.device, compute_dtype(), layer.fan_in_fan_out

    class Reading(torch.nn.Module):  # type: ignore[misc]
        """As much of a linear layer as models, and Unsloth's kernels in their place, ask of one."""

        def __init__(self) -> None:
            super().__init__()
            self.bias = layer.get_base_layer().bias

        @property
        def weight(self) -> torch.Tensor:
            return written.read(name).to(device=device, dtype=dtype)

        @torch.compiler.disable  # type: ignore[untyped-decorator]
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            weight = self.weight
            return torch.nn.functional.linear(inputs, weight.T if turned else weight, self.bias)

    return Reading()


def _carrier(model: Any) -> Any:
    """Return the model that PEFT put the adapters into, whose modules have the base model's names."""
    return model.get_base_model()


def _kept_type(weight: Any, dtype: Any) -> Any:
    """Return the type that a tensor is stored in: its own, unless it has more than 16 bits."""
    return dtype if weight.is_floating_point() and weight.dtype.itemsize > dtype.itemsize else weight.dtype


def _bytes(weight: Any, dtype: Any) -> int:
    return int(weight.numel() * _kept_type(weight, dtype).itemsize)


def _not_in_the_files(adapted: Adapted, name: str | None) -> UserError:
    what = f"{name} has another shape" if name else "its files have no tensor of that name"
    return UserError(
        "ModelInvalid",
        f"an adapter of {adapted.path} cannot be merged into the base model: {what}; leave all but Adapter out "
        "of output.formats, or save the base model anew with save_pretrained of Transformers",
    )
