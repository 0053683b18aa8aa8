"""Compares rows that share a pass with the same rows one by one, for a random model of each family; prints JSON.

Runs in the trainer's environment with Unsloth imported, as the worker has it: `python packing_probe.py FAMILY`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

# isort: off
import unsloth  # noqa: F401 -- first, as in the worker
import torch

# isort: on
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.trainer_pt_utils import get_model_param_count

from modelgarden_train.objectives.labelled import IGNORED_LABEL, packed, padded
from modelgarden_train.objectives.packing import parts, why_padded
from modelgarden_train.objectives.passes import StepRow

VOCABULARY = 97
LENGTHS = (5, 17, 2, 31, 11)
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def make_rows() -> list[StepRow]:
    """Return rows of other lengths, the loss on the second half of each."""
    chance = torch.Generator().manual_seed(3)
    rows: list[StepRow] = []
    for length in LENGTHS:
        ids = torch.randint(3, VOCABULARY, (length,), generator=chance).tolist()
        learned = length - length // 2
        rows.append({"input_ids": ids, "labels": [IGNORED_LABEL] * (length - learned) + ids[-learned:]})
    return rows


def learned_tokens(rows: list[StepRow]) -> int:
    """Return how many tokens the loss of a step is the mean over."""
    return sum(label != IGNORED_LABEL for row in rows for label in row["labels"][1:])


class Probe:
    """One model, and what it makes of batches."""

    def __init__(self, family: str) -> None:
        torch.manual_seed(5)
        self.config = AutoConfig.for_model(family, **SIZES)
        self.model = AutoModelForCausalLM.from_config(self.config).train()

    def step(self, batches: list[dict[str, Any]], *, items: int) -> tuple[float, torch.Tensor]:
        """Return the loss over some passes and the gradients of all weights in one row."""
        self.model.zero_grad()
        total = 0.0
        for batch in batches:
            loss = self.model(**batch, num_items_in_batch=torch.tensor(items)).loss
            loss.backward()
            total += float(loss.detach())
        gradients = [weight.grad.flatten() for weight in self.model.parameters() if weight.grad is not None]
        return total, torch.cat(gradients)

    def logits(self, batch: dict[str, Any]) -> torch.Tensor:
        """Return the logits of a pass, without a dimension for the batch."""
        with torch.no_grad():
            found: torch.Tensor = self.model(**{k: v for k, v in batch.items() if k != "labels"}).logits
        return found[0]


def compare(family: str) -> dict[str, Any]:
    """Return the differences that must be next to nothing."""
    probe, rows = Probe(family), make_rows()
    items = learned_tokens(rows)
    alone = [packed([row]) for row in rows]
    together = packed(rows)
    split = [packed([rows[row] for row in part]) for part in parts(LENGTHS, budget=36, padded=False)]
    loss, gradients = probe.step(alone, items=items)
    found = {name: probe.step(batches, items=items) for name, batches in {
        "together": [together], "split": split, "padded": [padded(rows, pad_token=0)],
    }.items()}  # fmt: skip

    changed = [dict(row) for row in rows]
    changed[1]["input_ids"] = [VOCABULARY - 1, *rows[1]["input_ids"][1:]]
    begin, end = LENGTHS[0], LENGTHS[0] + LENGTHS[1]
    moved = (probe.logits(packed(changed)) - probe.logits(together)).abs().amax(dim=-1)
    return {
        "weights": get_model_param_count(probe.model),
        "why_padded": why_padded(probe.config.to_dict(), {}),
        "passes": len(split),
        "loss": loss,
        "losses": {name: abs(value - loss) for name, (value, _) in found.items()},
        "gradients": {name: float((value - gradients).abs().max()) for name, (_, value) in found.items()},
        "largest_gradient": float(gradients.abs().max()),
        "logits": float(
            (torch.cat([probe.logits(one) for one in alone]) - probe.logits(together)).abs().max()
        ),
        "moved_itself": float(moved[begin:end].max()),
        "moved_others": float(torch.cat([moved[:begin], moved[end:]]).max()),
    }


if __name__ == "__main__":
    print(json.dumps(compare(sys.argv[1])))
