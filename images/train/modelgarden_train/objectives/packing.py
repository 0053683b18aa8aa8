"""How the rows of one optimizer step share passes through the model, and which models take them without padding. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_ATTENTION: Final = frozenset({"full_attention", "sliding_attention", "chunked_attention"})
"""Kinds of layers that keep documents apart; others, such as Mamba's, carry a state from one to the next."""
_LENGTH_DEPENDENT_ROPE: Final = frozenset({"dynamic", "longrope"})
_ROPE_FIELDS: Final = ("rope_parameters", "rope_scaling", "rope_theta")
_STATE_FIELDS: Final = ("mamba_", "ssm_", "linear_conv_", "conv_L_")
_PADDED_BY_UNSLOTH: Final = frozenset({"gemma2", "gpt_oss"})
"""PADDING_FREE_BLOCKLIST of unsloth/trainer.py."""


def why_padded(model: Mapping[str, Any], arguments: Mapping[str, Any], *, packing: bool = True) -> str | None:
    """Return why rows of one pass are padded to one length, None where they follow one another.

    Rows that follow one another are kept apart by attention and positions alone, and each of them must come out as it
    would by itself: neither another row nor the length of the pass may reach it. `model` is its config.json,
    `arguments` are Transformers', `packing` is what the spec asks for.
    """
    if not packing:
        return "training.packing is false"
    if arguments.get("neftune_noise_alpha"):
        return "NEFTune's noise depends on the length of a pass"
    return _why_the_model_is_padded(model)


def _why_the_model_is_padded(model: Mapping[str, Any]) -> str | None:
    if "vision_config" in model or "audio_config" in model:
        return "the model takes more than text"
    if model.get("is_encoder_decoder"):
        return "the model is an encoder and a decoder"
    if model.get("model_type") in _PADDED_BY_UNSLOTH or model.get("attn_logit_softcapping"):
        return "its attention has no kernel for rows of many lengths"
    if not any(model.get(name) for name in _ROPE_FIELDS) or model.get("alibi"):
        return "its positions are not rotary"
    if kinds := _LENGTH_DEPENDENT_ROPE & set(_rope_kinds(model)):
        return f"its {min(kinds)} RoPE depends on the length of a pass"
    if set(model.get("layer_types") or ()) - _ATTENTION or any(
        name.startswith(_STATE_FIELDS) for name in model
    ):
        return "some layers carry a state from row to row"
    if model.get("output_router_logits") and model.get("router_aux_loss_coef"):
        return "its router's loss is a mean over a pass"
    if model.get("attention_dropout"):
        return "its attention drops out, which the kernel for rows of many lengths does not"
    return None


def _rope_kinds(value: Any) -> Iterator[str]:
    """Yield the kinds of RoPE that a config names, for all layers or by kind of layer."""
    if not isinstance(value, Mapping):
        return
    for name in ("rope_type", "type"):
        if isinstance(value.get(name), str):
            yield value[name]
    for name, below in value.items():
        if name in _ROPE_FIELDS or name in _ATTENTION:
            yield from _rope_kinds(below)


def parts(lengths: Sequence[int], *, budget: int, padded: bool) -> list[list[int]]:
    """Split the rows of a step into passes of at most `budget` tokens, padding included; a longer row has its own.

    Rows stay whole. Without padding the passes are of like size, as the largest one decides on the memory.
    """
    return _alike(lengths, budget=budget) if padded else _balanced(lengths, budget=budget)


def _alike(lengths: Sequence[int], *, budget: int) -> list[list[int]]:
    passes: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if passes and lengths[passes[-1][0]] * (len(passes[-1]) + 1) <= budget:
            passes[-1].append(row)
        else:
            passes.append([row])
    return passes


def _balanced(lengths: Sequence[int], *, budget: int) -> list[list[int]]:
    """Give each row, the longest first, to the pass with the fewest tokens (Graham's LPT rule)."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    alone = [[row] for row in order if lengths[row] >= budget]
    rest = order[len(alone) :]
    count = math.ceil(sum(lengths[row] for row in rest) / budget)
    while rest:
        passes: list[list[int]] = [[] for _ in range(count)]
        filled = [0] * count
        for row in rest:
            lightest = min(range(count), key=filled.__getitem__)
            passes[lightest].append(row)
            filled[lightest] += lengths[row]
        if max(filled) <= budget:
            return [*alone, *map(sorted, passes)]
        count += 1
    return alone
