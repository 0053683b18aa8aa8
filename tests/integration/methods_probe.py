"""Trains a tiny model with the hyperparameters that people set, at a stretch and in two attempts; prints JSON.

Runs in the trainer's environment: `python methods_probe.py MODEL`, the folder of a model.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelgarden.api.finetunejob import ValidationStatus
from modelgarden.api.pods import RunConfig
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.evaluation.inference import completion_losses
from modelgarden_train.models.adapters import with_adapters
from modelgarden_train.models.environment import prepare_environment
from modelgarden_train.models.loading import (
    import_unsloth,
    inference,
    load_model,
    load_tokenizer,
)
from modelgarden_train.objectives.checkpoint import Checkpoint
from modelgarden_train.objectives.fitting import train_within_memory
from modelgarden_train.objectives.memory import first_plan
from modelgarden_train.objectives.scope import Scope

STEPS = 12
STOP = 7
"""Step at which the first of two attempts ends."""
CASES: dict[str, dict[str, Any]] = {
    "Cosine": {},
    "Linear": {"learningRateSchedule": "Linear", "warmupSteps": 4},
    "Constant": {"learningRateSchedule": "Constant", "warmupRatio": 0.25},
    "InverseSqrt": {"learningRateSchedule": "InverseSqrt", "warmupSteps": 2},
    "WarmupStableDecay": {"learningRateSchedule": "WarmupStableDecay", "warmupSteps": 2},
    "clipped": {"maxGradientNorm": 1e-12},
    "not clipped": {"maxGradientNorm": 0},
    "padded": {"packing": False},
    "noisy": {"neftuneNoiseAlpha": 5},
    "few targets": {"lora": {"targetModules": ["q_proj", "down_proj"]}},
    "rsLoRA": {"lora": {"useRslora": True}},
    "DoRA": {"lora": {"useDora": True}},
    "validated": {"validation": {"everySteps": 5}},
    "stopped early": {
        "learningRateSchedule": "Constant",
        "warmupSteps": 0,
        "learningRate": 0.03,
        "validation": {"everySteps": 2},
        "earlyStopping": {"patience": 1},
    },
    "ended as it was to be validated": {"validation": {"everySteps": STOP}},
    "stopped by little": {
        "validation": {"everySteps": 3},
        "earlyStopping": {"patience": 2, "minDelta": 50},
    },
}
TRAINING = {"maxSteps": STEPS, "learningRate": 0.01, "effectiveBatchSize": 8, "maxSequenceLength": 64}


def make_rows(count: int = 40, *, seed: int = 3) -> list[PreparedRow]:
    """Return rows of many lengths, the loss on the second half of each."""
    chance = random.Random(seed)
    rows = []
    for _ in range(count):
        ids = [chance.randrange(10, 60) for _ in range(chance.randrange(6, 24))]
        rows.append(PreparedRow(input_ids=ids, spans=((len(ids) // 2, len(ids)),), question="", answer=""))
    return rows


@dataclass
class Watching:
    """Hears of a training, and ends it at a step."""

    ends_at: int | None = None
    step_done: int = 0
    newest: Checkpoint | None = None
    points: list[dict[str, Any]] = field(default_factory=list)
    hyperparameters: dict[str, str] = field(default_factory=dict)
    validations: list[tuple[int, float]] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)
    """What the validations have found."""
    steps: int = 0
    """In all, as it was told last."""
    trained: list[str] = field(default_factory=list)
    """Names of the parameters."""
    held_out_loss: float = 0.0
    """Of the model that the training gave, as the evaluation scores it."""

    @property
    def stopping(self) -> bool:
        """Whether SIGTERM has come, as it seems."""
        return self.ends_at is not None and self.step_done + 1 >= self.ends_at

    def resolved(self, hyperparameters: dict[str, str]) -> None:
        """Keep the hyperparameters."""
        self.hyperparameters = hyperparameters

    def step(self, step: int, **told: Any) -> None:
        """Note a step."""
        self.step_done, self.steps = step, told["total"]

    def logged(self, step: int, **told: Any) -> None:
        """Keep a point of the curve."""
        self.points.append({"step": step, **told})

    def validating(self) -> None:
        """Take no notice."""

    def validated(self, step: int, *, loss: float) -> None:
        """Keep a validation."""
        self.validations.append((step, loss))

    def best(self, found: ValidationStatus) -> None:
        """Keep what was found."""
        self.found = found.to_dict()

    def gpu_memory(self, mib: int | None) -> None:
        """Take no notice."""

    def saved(self, checkpoint: Checkpoint) -> None:
        """Keep the newest checkpoint."""
        self.newest = checkpoint


class Probe:
    """Trainings of one model on the same rows."""

    def __init__(self, model: Path, folder: Path) -> None:
        self._model = model
        self._folder = folder
        self._rows, self._held_out = make_rows(), make_rows(12, seed=4)
        prepare_environment(self.config({}), folder)
        import_unsloth(self.config({}))

    def config(self, training: dict[str, Any], **fields: Any) -> RunConfig:
        """Return the configuration of a case; keywords are fields of it."""
        return RunConfig.from_dict(
            {
                "run": {"namespace": "default", "name": "probe", "uid": "1"},
                "runUri": "/nowhere",
                "modelSource": str(self._model),
                "dataset": {"sources": [{"uri": "/nowhere"}]},
                "modelName": "probe",
                "training": TRAINING | training,
                **fields,
            }
        )

    def attempt(
        self,
        name: str,
        training: dict[str, Any],
        *,
        ends_at: int | None = None,
        resume: Checkpoint | None = None,
        **fields: Any,
    ) -> Watching:
        """Train to the end, or to the step at which SIGTERM comes; return what was told."""
        from modelgarden_train.objectives import sft

        config, watching = self.config(training, **fields), Watching(ends_at)
        scope = Scope(
            config=config,
            tokenizer=load_tokenizer(self._model),
            rows=self._rows,
            checkpoints=self._folder / name,
            base_scores=self._folder / "none",
            watcher=watching,
            held_out=self._held_out if config.training.validation else (),
        )

        def load(plan: Any) -> Any:
            checkpointing = plan.gradient_checkpointing
            model = load_model(config, self._model, four_bit=False, gradient_checkpointing=checkpointing)
            return with_adapters(config, model, gradient_checkpointing=checkpointing)

        longest = max(row.tokens for row in self._rows)
        plan = first_plan(effective_batch=8, longest_row=longest, gpu=False)
        model = train_within_memory(scope, sft.sft_trainer, load, plan=plan, resume=resume)
        watching.trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
        with inference(model):
            losses = completion_losses(model, scope.tokenizer, self._held_out)
        watching.held_out_loss = sum(map(sum, losses)) / sum(map(len, losses))
        return watching

    def case(self, name: str, training: dict[str, Any]) -> dict[str, Any]:
        """Return the curves of a training at a stretch and of one in two attempts."""
        whole = self.attempt(f"{name}-whole", training)
        first = self.attempt(f"{name}-first", training, ends_at=STOP)
        second = self.attempt(f"{name}-second", training, resume=first.newest)
        attempts = [whole, second]
        if "validation" in training or name == "Cosine":
            attempts.append(self.attempt(f"{name}-third", training, resume=second.newest))
        return {
            "hyperparameters": whole.hyperparameters,
            "trained": whole.trained,
            "whole": whole.points,
            "stopped": [point["step"] for point in first.points],
            "resumed": first.points + second.points,
            "after the end": [point for third in attempts[2:] for point in third.points],
            "steps": whole.steps,
            "validations": whole.validations,
            "resumed validations": sum((one.validations for one in attempts[1:]), first.validations),
            "found": [one.found for one in attempts],
            "held-out losses": [one.held_out_loss for one in attempts],
        }


def main() -> None:
    """Print what came of all cases."""
    with tempfile.TemporaryDirectory() as folder:
        probe = Probe(Path(sys.argv[1]), Path(folder))
        print(json.dumps({name: probe.case(name, training) for name, training in CASES.items()}))


if __name__ == "__main__":
    main()
