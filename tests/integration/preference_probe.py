"""One step of each objective by the trainer, whole and split into passes, held against the papers' formulas.

Runs in the trainer's environment: `python preference_probe.py MODEL`, with the folder of a tiny model; prints what was
found by objective.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

# isort: off
import unsloth  # noqa: F401 -- first, as in the worker
import torch
from torch.nn.functional import logsigmoid

# isort: on
from modelgarden.api.pods import RunConfig
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.models.adapters import with_adapters
from modelgarden_train.models.loading import load_model, load_tokenizer
from modelgarden_train.objectives.choice import trainer_of
from modelgarden_train.objectives.held_out import held_out_loss
from modelgarden_train.objectives.memory import StepPlan
from modelgarden_train.objectives.passes import collate
from modelgarden_train.objectives.scope import Scope, Watcher
from modelgarden_train.rewards.completion import Completion
from modelgarden_train.rewards.scorer import Scorer

ROWS = 12
GENERATIONS = 4
OBJECTIVES: dict[str, dict[str, Any]] = {
    "DPO": {"type": "DPO", "dpo": {"beta": 0.3, "sftWeight": 0.7}},
    "ORPO": {"type": "ORPO", "orpo": {"beta": 0.3}},
    "GRPO": {
        "type": "GRPO",
        "grpo": {
            "rewards": [{"type": "ExactMatch"}],
            "generations": GENERATIONS,
            "maxCompletionLength": 16,
            "temperature": 0.8,
            "beta": 0.3,
        },
    },
    "KTO": {"type": "KTO", "kto": {"beta": 0.3, "desirableWeight": 1.5, "undesirableWeight": 0.5}},
}


def make_rows(kind: str) -> list[PreparedRow]:
    """Return rows of all lengths: pairs, or answers with labels."""
    chance = random.Random(5)

    def ids(longest: int) -> list[int]:
        return [chance.randrange(5, 200) for _ in range(chance.randint(2, longest))]

    rows = []
    for number in range(ROWS):
        prompt, chosen, rejected = ids(20), ids(15), ids(15)
        whole = prompt + chosen
        answers: dict[str, Any] = {"rejected_ids": rejected} if kind != "KTO" else {"label": number % 3 > 0}
        rows.append(PreparedRow(whole, ((len(prompt), len(whole)),), "?", "!", **answers))
    return rows


def config_of(folder: Path, objective: dict[str, Any]) -> RunConfig:
    """Return the configuration of a run."""
    config = {
        "run": {"namespace": "default", "name": "probe", "uid": "probe"},
        "runUri": "/nowhere",
        "modelSource": str(folder),
        "dataset": {"sources": [{"uri": "/nowhere"}]},
        "modelName": "probe",
        "objective": objective,
        "training": {"effectiveBatchSize": ROWS, "maxSequenceLength": 64, "lora": {"rank": 8}},
    }
    return RunConfig.model_validate_json(json.dumps(config))


def make_model(config: RunConfig, folder: Path) -> Any:
    """Return the model with adapters that were moved: it is no longer the base model."""
    model = with_adapters(config, load_model(config, folder, four_bit=False), gradient_checkpointing=False)
    chance = torch.Generator().manual_seed(11)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.05 * torch.randn(parameter.shape, generator=chance)
    return model


def worth(ids: Sequence[int]) -> float:
    """Return what a completion is worth: something that differs between those of a prompt."""
    return sum(ids) % 7 / 7


def judged(completions: Sequence[Completion]) -> SimpleNamespace:
    """Judge as a scorer does."""
    return SimpleNamespace(totals=tuple(worth(one.ids) for one in completions))


class Step:
    """One step of the trainer, with passes of at most some tokens."""

    def __init__(self, folder: Path, kind: str, *, budget: int) -> None:
        config, rows = config_of(folder, OBJECTIVES[kind]), make_rows(kind)
        self.model = make_model(config, folder)
        scratch = Path(tempfile.mkdtemp())
        scope = Scope(
            config=config,
            tokenizer=load_tokenizer(folder),
            rows=rows,
            checkpoints=scratch,
            base_scores=scratch / "scores",
            watcher=cast(Watcher, SimpleNamespace(stopping=False)),
            held_out=rows,
            scorer=cast(Scorer, SimpleNamespace(score=judged)),
        )
        plan = StepPlan(effective_batch=ROWS, budget=budget, longest_row=1)
        trainer = trainer_of(config.objective.type)(scope, self.model, plan)
        trainer.current_gradient_accumulation_steps = 1
        self.held_out = held_out_loss(trainer, stopping=lambda: False)
        self.model.train()
        self.loss = float(trainer.training_step(self.model, collate(list(trainer.train_dataset))))
        self.rows = trainer.step.rows
        self.passes = len(trainer.passes.split(self.rows))

    def gradients(self) -> torch.Tensor:
        """Return those of all that is trained."""
        return torch.cat([one.grad.reshape(-1) for one in self.model.parameters() if one.requires_grad])


class Told:
    """What a model makes of answers, one at a time, with and without its adapters."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def ours(self, prompt: list[int], answer: list[int], *, temperature: float = 1.0) -> torch.Tensor:
        """Return the log-likelihoods of an answer's tokens."""
        ids = torch.tensor([prompt + answer])
        logits = self._model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        found = (logits[0, :-1].float() / temperature).log_softmax(-1).gather(1, ids[0, 1:, None])
        return found[len(prompt) - 1 :, 0]

    def ratio(self, prompt: list[int], answer: list[int]) -> torch.Tensor:
        """Return how much likelier an answer is than to the base model, as a logarithm."""
        ours = self.ours(prompt, answer).sum()
        with self._model.disable_adapter():
            return ours - self.ours(prompt, answer).sum()


def dpo_by_hand(told: Told) -> torch.Tensor:
    """Return equation 7 of Rafailov et al. 2023, and the answers' own loss with its weight."""
    rows = make_rows("DPO")
    margins = [
        told.ratio(row.prompt_ids, row.reference_ids) - told.ratio(row.prompt_ids, row.rejected_ids)
        for row in rows
    ]
    answers = torch.cat([told.ours(row.prompt_ids, row.reference_ids) for row in rows])
    return -logsigmoid(0.3 * torch.stack(margins)).mean() - 0.7 * answers.mean()


def orpo_by_hand(told: Told) -> torch.Tensor:
    """Return equation 6 of Hong et al. 2024: the likelihood of an answer is that of its tokens' geometric mean."""
    rows = make_rows("ORPO")

    def log_odds(prompt: list[int], answer: list[int]) -> torch.Tensor:
        likelihood = told.ours(prompt, answer).mean().exp()
        return (likelihood / (1 - likelihood)).log()

    ratios = [
        log_odds(row.prompt_ids, row.reference_ids) - log_odds(row.prompt_ids, row.rejected_ids)
        for row in rows
    ]
    answers = torch.cat([told.ours(row.prompt_ids, row.reference_ids) for row in rows])
    return -answers.mean() - 0.3 * logsigmoid(torch.stack(ratios)).mean()


def kto_by_hand(told: Told) -> torch.Tensor:
    """Return equation 8 of Ethayarajh et al. 2024, its distance measured on the answer of the row before."""
    rows = make_rows("KTO")
    others = [rows[place - 1].reference_ids for place in range(len(rows))]
    pairs = zip(rows, others, strict=True)
    distance = torch.stack([told.ratio(row.prompt_ids, other) for row, other in pairs]).mean().clamp(min=0)
    losses = []
    for row in rows:
        ratio = told.ratio(row.prompt_ids, row.reference_ids)
        if row.label:
            losses.append(1.5 * (1 - torch.sigmoid(0.3 * (ratio - distance))))
        else:
            losses.append(0.5 * (1 - torch.sigmoid(0.3 * (distance - ratio))))
    return torch.stack(losses).mean()


def grpo_by_hand(step: Step) -> tuple[float, torch.Tensor]:
    """Return loss and gradients of equation 3 of Shao et al. 2024 as Yu et al. 2025 take its mean, where the old policy is
    the new one: the value of the clipped ratio is 1, and its gradient that of the log-likelihood.
    """
    told, value, learned = Told(step.model), torch.tensor(0.0), torch.tensor(0.0)
    tokens = sum(len(row["completion_ids"]) for row in step.rows)
    step.model.zero_grad(set_to_none=True)
    for start in range(0, len(step.rows), GENERATIONS):
        group = step.rows[start : start + GENERATIONS]
        rewards = torch.tensor([worth(row["completion_ids"]) for row in group])
        for row, reward in zip(group, rewards, strict=True):
            advantage = (reward - rewards.mean()) / (rewards.std() + 1e-4)
            ours = told.ours(row["prompt_ids"], row["completion_ids"], temperature=0.8)
            with torch.no_grad(), step.model.disable_adapter():
                distance = told.ours(row["prompt_ids"], row["completion_ids"], temperature=0.8) - ours
            distance = distance + ours.detach() - ours
            away = 0.3 * (distance.exp() - distance - 1).sum()
            value = value + (away.detach() - advantage * len(ours)) / tokens
            learned = learned + (away - advantage * ours.sum()) / tokens
    learned.backward()
    return float(value), step.gradients()


BY_HAND = {"DPO": dpo_by_hand, "ORPO": orpo_by_hand, "KTO": kto_by_hand}


def examined(folder: Path, kind: str) -> dict[str, Any]:
    """Return a step's loss whole, split and by hand, and how far the gradients of both ways lie apart."""
    whole, split = Step(folder, kind, budget=100_000), Step(folder, kind, budget=150)
    gradients = whole.gradients()
    if kind == "GRPO":
        by_hand, expected = grpo_by_hand(whole)
    else:
        with torch.no_grad():
            by_hand, expected = float(BY_HAND[kind](Told(whole.model))), gradients
    return {
        "whole": whole.loss,
        "split": split.loss,
        "held_out": [whole.held_out, split.held_out],
        "by_hand": by_hand,
        "passes": split.passes - whole.passes,
        "largest_gradient": float(gradients.abs().max()),
        "farthest_gradient": float((gradients - split.gradients()).abs().max()),
        "from_by_hand": float((gradients - expected).abs().max()),
    }


if __name__ == "__main__":
    print(json.dumps({kind: examined(Path(sys.argv[1]), kind) for kind in OBJECTIVES}))
