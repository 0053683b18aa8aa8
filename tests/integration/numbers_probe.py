"""Trains a tiny model that is logged at some of its steps only, and one whose numbers go bad; prints JSON.

Runs in the trainer's environment: `python numbers_probe.py MODEL`, the folder of a model.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from methods_probe import Probe  # type: ignore[import-not-found]  # beside this script

from modelgarden_pod.errors import UserError
from modelgarden_train.objectives import arguments, sft
from modelgarden_train.objectives.numbers import newest_step

BAD_STEP = 7
"""Between a log and a checkpoint, and before either."""


@contextmanager
def numbers_that_go_bad(of: str) -> Iterator[None]:
    """Have the loss, or only the gradient, of a step be no number."""
    make = sft.sft_trainer

    def sft_trainer(*given: Any) -> Any:
        trainer = make(*given)
        step = trainer.training_step

        def training_step(model: Any, *rest: Any) -> Any:
            loss = step(model, *rest)
            if trainer.state.global_step + 1 != BAD_STEP:
                return loss
            if of == "loss":
                return loss * math.nan
            weight = next(one for one in model.parameters() if one.grad is not None)
            weight.grad[0] = math.inf
            return loss

        trainer.training_step = training_step
        return trainer

    sft.sft_trainer = sft_trainer  # type: ignore[assignment]
    try:
        yield
    finally:
        sft.sft_trainer = make


def ended(probe: Probe, folder: Path, of: str, *, every: int, ends_at: int | None = None) -> dict[str, Any]:
    """Return how a training ended whose numbers go bad, and its newest checkpoint."""
    given = {"everySteps": every}
    with numbers_that_go_bad(of):
        try:
            probe.attempt(f"{of}-{every}-{ends_at}", {}, ends_at=ends_at, checkpoint=given)
        except UserError as error:
            said = {"reason": error.reason, "message": error.message}
        else:
            said = {}
    return said | {"newest": newest_step(folder / f"{of}-{every}-{ends_at}")}


def main() -> None:
    """Print what came of all cases."""
    arguments.LOGS = 3  # type: ignore[misc]  # of 12 steps those of 1, 4, 8 and 12
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        probe = Probe(Path(sys.argv[1]), folder)
        found = {
            "seldom logged": probe.case("seldom", {}),
            "gradient": ended(probe, folder, "gradient", every=5),
            "gradient at a checkpoint": ended(probe, folder, "gradient", every=BAD_STEP),
            "gradient at SIGTERM": ended(probe, folder, "gradient", every=5, ends_at=BAD_STEP),
            "loss": ended(probe, folder, "loss", every=5),
        }
        print(json.dumps(found))


if __name__ == "__main__":
    main()
