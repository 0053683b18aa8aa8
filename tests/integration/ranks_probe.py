"""Trains a tiny model in one process and in two that share each step, and goes on with each other's checkpoints.

Runs in the trainer's environment: `python ranks_probe.py MODEL`, the folder of a model; prints JSON. It starts itself once
for each rank; the first one does what is done alone, too.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelgarden.api.pods import RunConfig
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.models.adapters import with_adapters
from modelgarden_train.models.environment import prepare_environment, prepare_rank
from modelgarden_train.models.loading import import_unsloth, load_model, load_tokenizer
from modelgarden_train.objectives.checkpoint import Checkpoint
from modelgarden_train.objectives.fitting import train_within_memory
from modelgarden_train.objectives.memory import StepPlan
from modelgarden_train.objectives.scope import Scope
from modelgarden_train.parallel.ranks import ALONE, Ranks, join

RANKS = 2
STEPS = 9
"""More than an epoch of three steps, of which the last one has a single row."""
STOP = 4
ROWS = 17
HELD_OUT = 11
BUDGET = 60
"""Tokens of a pass: a step takes several."""
TRAINING = {"maxSteps": STEPS, "learningRate": 0.01, "effectiveBatchSize": 8, "maxSequenceLength": 64}
CASES: dict[str, dict[str, Any]] = {
    "SFT LoRA": {"method": "LoRA"},
    "SFT Full": {"method": "Full"},
    "DPO LoRA": {"method": "LoRA", "objective": {"type": "DPO", "dpo": {"sftWeight": 0.5}}},
    "DPO Full": {"method": "Full", "objective": {"type": "DPO"}},
    "ORPO LoRA": {"method": "LoRA", "objective": {"type": "ORPO"}},
    "KTO LoRA": {"method": "LoRA", "objective": {"type": "KTO"}},
    "stopped early": {
        "objective": {"type": "KTO"},
        "training": TRAINING
        | {"learningRate": 0.2, "validation": {"everySteps": 1}, "earlyStopping": {"patience": 3}},
    },
}


def make_rows(kind: str) -> list[PreparedRow]:
    """Return rows of many lengths: with an answer, with two, or with a label."""
    chance = random.Random(5)

    def ids(longest: int) -> list[int]:
        return [chance.randrange(10, 60) for _ in range(chance.randint(2, longest))]

    rows = []
    for number in range(ROWS):
        prompt, answer, other = ids(20), ids(15), ids(15)
        whole = prompt + answer
        more: dict[str, Any] = {"rejected_ids": other} if kind in ("DPO", "ORPO") else {}
        if kind == "KTO":
            more = {"label": number % 3 > 0}
        rows.append(PreparedRow(whole, ((len(prompt), len(whole)),), "?", "!", **more))
    return rows


@dataclass
class Watching:
    """Hears of a training, and ends it at a step."""

    ends_at: int | None = None
    step_done: int = 0
    newest: Checkpoint | None = None
    points: list[dict[str, Any]] = field(default_factory=list)
    validated_points: list[tuple[int, float]] = field(default_factory=list)
    best_known: Any = None
    weights: float = 0.0
    """Sum of what was trained, without signs."""
    tokens: int = 0
    hyperparameters: dict[str, str] = field(default_factory=dict)

    @property
    def stopping(self) -> bool:
        """Whether SIGTERM has come, as it seems."""
        return self.ends_at is not None and self.step_done + 1 >= self.ends_at

    def resolved(self, hyperparameters: dict[str, str]) -> None:
        """Keep the hyperparameters."""
        self.hyperparameters = hyperparameters

    def step(self, step: int, *, tokens: int, **_: Any) -> None:
        """Note a step."""
        self.step_done, self.tokens = step, tokens

    def logged(self, step: int, **told: Any) -> None:
        """Keep a point of the curve."""
        self.points.append({"step": step, **told})

    def validating(self) -> None:
        """Take no notice."""

    def validated(self, step: int, *, loss: float) -> None:
        """Keep the loss of the held-out rows."""
        self.validated_points.append((step, loss))

    def best(self, validation: Any) -> None:
        """Keep what is known of the best step."""
        self.best_known = validation

    def gpu_memory(self, mib: int | None) -> None:
        """Take no notice."""

    def saved(self, checkpoint: Checkpoint) -> None:
        """Keep the newest checkpoint."""
        self.newest = checkpoint


class Probe:
    """Trainings of one model, alone and as one of two."""

    def __init__(self, model: Path, folder: Path, ranks: Ranks) -> None:
        self._model = model
        self._folder = folder
        self._ranks = ranks

    def attempt(
        self,
        name: str,
        case: dict[str, Any],
        *,
        ranks: Ranks,
        ends_at: int | None = None,
        resume: str | None = None,
    ) -> Watching:
        """Train to the end, or to the step at which one process is asked to stop; return what was told."""
        from modelgarden_train.objectives.choice import trainer_of

        config, watching = config_of(self._model, case), Watching(ends_at if ranks.first else None)
        scope = Scope(
            config=config,
            tokenizer=load_tokenizer(self._model),
            rows=make_rows(config.objective.type),
            checkpoints=self._folder / name,
            base_scores=self._folder / "none",
            watcher=watching,
            held_out=make_rows(config.objective.type)[:HELD_OUT] if config.training.validation else (),
            ranks=ranks,
        )

        def load(plan: Any) -> Any:
            return with_adapters(
                config, load_model(config, self._model, four_bit=False), gradient_checkpointing=False
            )

        from_ = Checkpoint(STOP, self._folder / resume / f"checkpoint-{STOP}") if resume else None
        plan = StepPlan(effective_batch=8, budget=BUDGET, longest_row=1)
        model = train_within_memory(scope, trainer_of(config.objective.type), load, plan=plan, resume=from_)
        weights = [one for one in model.parameters() if one.requires_grad]
        watching.weights = float(sum(one.detach().double().abs().sum() for one in weights))
        return watching

    def case(self, name: str, case: dict[str, Any]) -> dict[str, Any]:
        """Return the curves of the trainings."""
        found: dict[str, Watching] = {}
        one = f"{name} one"
        if self._ranks.first:
            found["alone"] = self.attempt("whole", case, ranks=ALONE)
            found["alone first"] = self.attempt(one, case, ranks=ALONE, ends_at=STOP)
        self._ranks.least(0, at="alone")
        two = f"{name} two"
        found["ranks"] = self.attempt("whole", case, ranks=self._ranks)
        found["ranks first"] = self.attempt(two, case, ranks=self._ranks, ends_at=STOP)
        found["ranks after one"] = self.attempt("whole", case, ranks=self._ranks, resume=one)
        found["ranks after ranks"] = self.attempt("whole", case, ranks=self._ranks, resume=two)
        if self._ranks.first:
            found["one after ranks"] = self.attempt("whole", case, ranks=ALONE, resume=two)
        return {key: told(one) for key, one in found.items()}


def told(watching: Watching) -> dict[str, Any]:
    """Return what the test looks at."""
    return {
        "points": watching.points,
        "tokens": watching.tokens,
        "validated": watching.validated_points,
        "best": watching.best_known and watching.best_known.to_dict(),
        "weights": watching.weights,
        "processes": watching.hyperparameters.get("processes"),
    }


def config_of(model: Path, case: dict[str, Any]) -> RunConfig:
    """Return the configuration of a case."""
    return RunConfig.from_dict(
        {
            "run": {"namespace": "default", "name": "probe", "uid": "1"},
            "runUri": "/nowhere",
            "modelSource": str(model),
            "dataset": {"sources": [{"uri": "/nowhere"}]},
            "modelName": "probe",
            "training": TRAINING,
            **case,
        }
    )


def as_rank(model: Path, folder: Path, rank: int) -> None:
    """Do the trainings as one of the processes; each prints what it was told."""
    config = config_of(model, {})
    prepare_environment(config, folder)
    prepare_rank(os.environ, rank=rank, size=RANKS)
    import_unsloth(config)
    probe = Probe(model, folder, join(rank, RANKS, rendezvous=folder / "rendezvous"))
    print(json.dumps({name: probe.case(name, case) for name, case in CASES.items()}))


def main() -> None:
    """Start the ranks, and print what they say, by rank."""
    with tempfile.TemporaryDirectory() as folder:
        ranks = [
            subprocess.Popen(
                [sys.executable, __file__, sys.argv[1], folder, str(rank)], stdout=subprocess.PIPE, text=True
            )
            for rank in range(RANKS)
        ]
        printed = [rank.communicate()[0] for rank in ranks]
        codes = [rank.returncode for rank in ranks]
    if any(codes):
        sys.exit(f"the ranks ended with {codes}")
    print(json.dumps([json.loads(one.splitlines()[-1]) for one in printed]))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        as_rank(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
