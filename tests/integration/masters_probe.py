"""Trains weights of 16 bits led by masters beside weights of 32 bits that each layer casts; prints the differences.

Runs in the trainer's environment: `python masters_probe.py FOLDER`. Then a real trainer trains real adapters, is ended in
the middle and goes on.
"""

from __future__ import annotations

import copy
import io
import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from modelgarden_train.objectives.masters import Masters, led

STEPS = 6
PASSES = 2


class Layers(torch.nn.Module):  # type: ignore[misc]  # PyTorch is not in this environment
    """Two layers that compute in 16 bits with weights of any type, as Unsloth's adapters do."""

    def __init__(self) -> None:
        super().__init__()
        made = torch.Generator().manual_seed(7)
        self.down = torch.nn.Parameter(torch.randn(16, 4, generator=made))
        self.up = torch.nn.Parameter(torch.randn(4, 16, generator=made))
        self.unused = torch.nn.Parameter(torch.randn(3, generator=made))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return 16 numbers of 32 bits for each row."""
        found: torch.Tensor = (rows @ self.down.to(torch.bfloat16) @ self.up.to(torch.bfloat16)).float()
        return found


def passes(step: int) -> list[torch.Tensor]:
    """Return the rows of a step's passes."""
    made = torch.Generator().manual_seed(100 + step)
    return [torch.randn(5, 16, generator=made).to(torch.bfloat16) for _ in range(PASSES)]


def optimizer_of(model: Layers) -> torch.optim.Optimizer:
    """Return the optimizer of a model's weights, some of which decay."""
    groups = [{"params": [model.down, model.up], "weight_decay": 0.1}, {"params": [model.unused]}]
    return torch.optim.AdamW(groups, lr=0.01, weight_decay=0.0)


def train_plain(model: Layers) -> list[torch.Tensor]:
    """Train weights of 32 bits; return the norms of the gradients."""
    optimizer, norms = optimizer_of(model), []
    for step in range(STEPS):
        for rows in passes(step):
            model(rows).square().mean().backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0))
        optimizer.step()
        optimizer.zero_grad()
    return norms


class Led:
    """A training that is led by masters, and may be saved and gone on with."""

    def __init__(self, model: Layers) -> None:
        self.model = model
        self.masters = Masters(model, torch.bfloat16)
        self.optimizer = optimizer_of(model)
        self.masters.lead(self.optimizer)

    def train(self, steps: range) -> list[torch.Tensor]:
        """Do steps, each begun twice, as when the memory runs out in the second pass; return the norms."""
        norms = []
        for step in steps:
            self._pass(passes(step)[0])
            self.masters.forget()
            for rows in passes(step):
                self._pass(rows)
            norms.append(self.masters.clip(1.0))
            self.optimizer.step()
            self.optimizer.zero_grad()
        return norms

    def _pass(self, rows: torch.Tensor) -> None:
        self.model(rows).square().mean().backward()
        self.masters.gather()
        assert all(weight.grad is None for weight in self.model.parameters())

    def saved(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return weights and the optimizer's state, by way of a file's bytes."""
        file = io.BytesIO()
        torch.save(self.optimizer.state_dict(), file)
        file.seek(0)
        return copy.deepcopy(self.model.state_dict()), torch.load(file, weights_only=True)


def resumed(weights: dict[str, Any], state: dict[str, Any]) -> Led:
    """Return a training that goes on with what was saved; PEFT loads adapters as 32 bits, whatever they were."""
    led = Led(Layers())
    for name, parameter in led.model.named_parameters():
        parameter.data = weights[name].float()
    led.optimizer.load_state_dict(state)
    return led


def furthest(one: torch.nn.Module, other: torch.nn.Module) -> float:
    """Return the largest difference of two models' weights."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a.detach().float() - b.detach().float()).abs().max()) for a, b in pairs)


def compare() -> dict[str, Any]:
    """Return what the test looks at."""
    plain, start = Layers(), Layers()
    norms = train_plain(plain)
    led = Led(Layers())
    led_norms = led.train(range(STEPS))
    types = {str(weight.dtype) for weight in led.model.parameters()}
    led.masters.restore()

    half = Led(Layers())
    half.train(range(STEPS // 2))
    weights, state = half.saved()
    again = resumed(weights, state)
    again.train(range(STEPS // 2, STEPS))
    types |= {str(weight.dtype) for weight in again.model.parameters()}
    again.masters.restore()

    former = resumed(weights, {name: value for name, value in state.items() if name != "masters"})
    former.masters.restore()
    return {
        "types": sorted(types),
        "restored": sorted({str(weight.dtype) for weight in led.model.parameters()}),
        "moved": furthest(plain, start),
        "led": furthest(led.model, plain),
        "norms": max(abs(float(a - b)) / float(b) for a, b in zip(led_norms, norms, strict=True)),
        "resumed": furthest(again.model, plain),
        "former": max(
            float((parameter.data - weights[name].float()).abs().max())
            for name, parameter in former.model.named_parameters()
        ),
    }


def adapted() -> Any:
    """Return a tiny model with adapters, the same each time."""
    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes))
    return get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))


def trained(folder: Path, *, steps: int, resume: str | None = None) -> Any:
    """Train the adapters to a step of six, from the beginning or a checkpoint; return the trainer."""
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=STEPS, save_steps=STEPS // 2, per_device_train_batch_size=2,
        learning_rate=0.01, lr_scheduler_type="constant",
        use_cpu=True, report_to="none", disable_tqdm=True, optim="adamw_torch_fused",
    )  # fmt: skip
    drawn = torch.randint(0, 64, (40, 9)).tolist()
    rows = [{"input_ids": ids, "labels": ids} for ids in drawn]
    trainer = led(Trainer, torch.bfloat16)(model=adapted(), args=arguments, train_dataset=rows)
    trainer.args.max_steps = steps
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def interrupted(folder: Path) -> dict[str, Any]:
    """Return how far a training that is gone on with ends from one that was not ended."""
    torch.manual_seed(1)
    whole = trained(folder / "whole", steps=STEPS)
    torch.manual_seed(1)
    trained(folder / "half", steps=STEPS // 2)
    torch.manual_seed(1)
    again = trained(folder / "half", steps=STEPS, resume=str(folder / f"half/checkpoint-{STEPS // 2}"))
    return {
        "steps": [whole.state.global_step, again.state.global_step],
        "adapters": sorted(
            {str(weight.dtype) for weight in again.model.parameters() if weight.requires_grad}
        ),
        "learned": furthest(whole.model, adapted()),
        "gone_on": furthest(again.model, whole.model),
    }


if __name__ == "__main__":
    print(json.dumps({**compare(), **interrupted(Path(sys.argv[1]))}))
