"""Merges random adapters into bases of several layouts with the trainer's code and prints what came out, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_model import make_model, make_tokenizer  # type: ignore[import-not-found]  # beside this script
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM

from modelgarden_pod.errors import UserError
from modelgarden_train.artifact import merge
from modelgarden_train.artifact.folder import storage_dtype, write_beside
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.evaluation.inference import completion_losses
from modelgarden_train.models.weights import Weights

SHARD_BYTES = 40_000
PLAIN: Mapping[str, Any] = {}
ADAPTERS: dict[str, Any] = {"target_modules": "all-linear"}
VARIANTS: dict[str, dict[str, Any]] = {
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "few": {"target_modules": ["v_proj", "o_proj", "up_proj", "down_proj"]},
}
"""Of the adapters of a Llama."""
ROWS = [
    PreparedRow(input_ids=list(range(10 + n, 34 + n)), spans=((20, 24),), question=str(n), answer=str(n + 1))
    for n in range(8)
]


def llama(folder: Path) -> None:
    make_model(folder)


def llama_in_16_bit(folder: Path) -> None:
    make_model(folder, dtype="bfloat16")


def shards(folder: Path) -> None:
    """Biases, an output layer of its own, and several files."""
    tokenizer = make_tokenizer(chat_template=True)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder, max_shard_size=SHARD_BYTES)
    tokenizer.save_pretrained(folder)
    (folder / "generation_config.json").unlink()


def turned(folder: Path) -> None:
    """Layers that keep their weights the other way round."""
    tokenizer = make_tokenizer(chat_template=True)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=64, n_layer=2, n_head=4, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def other_names(folder: Path) -> None:
    """Saved without its language head, so that no name begins with `model.`."""
    make_model(folder)
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name.removeprefix("model."): tensor for name, tensor in tensors.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


def trained(folder: Path, options: Mapping[str, Any] = PLAIN) -> Any:
    """Return a base with an adapter of random weights on both sides, so that it changes the answers."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = LoraConfig(r=8, lora_alpha=16, init_lora_weights=False, **{**ADAPTERS, **options})
    model = get_peft_model(model, config).eval()
    for name, parameter in model.named_parameters():
        if "magnitude" in name:  # else they are those of the layer as it is
            parameter.data *= 1 + 0.3 * torch.rand_like(parameter)
    return model


def losses(model: Any) -> list[float]:
    return [
        loss for row in completion_losses(model, make_tokenizer(chat_template=True), ROWS) for loss in row
    ]


def apart(one: list[float], other: list[float]) -> float:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def merged(base: Path, target: Path, options: Mapping[str, Any] = PLAIN) -> dict[str, Any]:
    """Merge, and hold what was written against the trained model in three ways."""
    before = losses(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval())
    model = trained(base, options)
    wanted = losses(model)
    weights = Weights(base)
    adapted = merge.adapted_tensors(model, weights)
    merge.write_merged(weights, adapted, target, dtype=storage_dtype(base), shard_bytes=SHARD_BYTES)
    write_beside(target, base=base, tokenizer=make_tokenizer(chat_template=True), stop_tokens=[0])
    merge.read_from(model, adapted, Weights(target))
    loaded = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32).eval()
    by_peft = trained(base, options).merge_and_unload().to(storage_dtype(base)).float()
    return {
        "changed": apart(before, wanted),
        "checked": apart(wanted, losses(model)),
        "loaded": apart(wanted, losses(loaded)),
        "peft": max(
            float((mine - other).abs().max())
            for mine, other in zip(loaded.state_dict().values(), by_peft.state_dict().values(), strict=True)
        ),
        "files": sorted(path.name for path in target.iterdir()),
        "types": sorted({str(Weights(target).read(name).dtype) for name in Weights(target)}),
        "config": json.loads((target / "config.json").read_text()),
        "generation": json.loads((target / "generation_config.json").read_text()),
    }


def spoilt(base: Path, target: Path) -> float:
    """Return how far the check is off where one written layer is the base's."""
    model = trained(base)
    wanted = losses(model)
    weights = Weights(base)
    adapted = merge.adapted_tensors(model, weights)
    left_out = next(iter(adapted))
    kept = {name: layer for name, layer in adapted.items() if name != left_out}
    merge.write_merged(weights, kept, target, dtype=torch.bfloat16)
    merge.read_from(model, adapted, Weights(target))
    return apart(wanted, losses(model))


def refused(base: Path, folder: Path) -> str:
    """Return the refusal of a base whose files lack a layer."""
    tensors = load_file(base / "model.safetensors")
    del tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    try:
        merge.adapted_tensors(trained(base), Weights(folder))
    except UserError as error:
        return f"{error.reason}: {error.message}"
    return ""


def main(folder: Path) -> None:
    """Do all layouts."""
    found: dict[str, Any] = {}
    for make in (llama, llama_in_16_bit, shards, turned, other_names):
        base = folder / make.__name__
        make(base)
        found[make.__name__] = merged(base, folder / f"{make.__name__}-merged")
    for name, options in VARIANTS.items():
        found[name] = merged(folder / "llama", folder / f"{name}-merged", options)
    found["turned_dora"] = merged(folder / "turned", folder / "turned-dora", {"use_dora": True})
    lacking = folder / "lacking"
    lacking.mkdir()
    found["spoilt"] = spoilt(folder / "llama", folder / "spoilt")
    found["refused"] = refused(folder / "llama", lacking)
    print(json.dumps(found))


main(Path(sys.argv[1]))
