"""The numbers of a training between two times that they are logged: kept over an interruption, and looked at before
anything is made of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from modelgarden_pod.errors import UserError
from modelgarden_train.objectives.checkpoint import Checkpoint

LOSS_SO_FAR: Final = "loss-so-far.json"
"""In a checkpoint: what the trainer of Transformers drops of the mean that it logs next."""


def numbers_only(trainer: type, checkpoints: Path) -> type:
    """Return a class of trainers of Transformers that ends where its numbers are none any more, before they are saved.

    `resumed` is what `saved_loss` says of the checkpoint that the training goes on from.
    """

    class NumbersOnly(trainer):  # type: ignore[misc]
        """The trainer, whose every checkpoint can be gone on from."""

        resumed: tuple[float, int] | None = None

        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            self._norms = Norms()

        def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
            norm = super()._get_grad_norm(model, grad_norm)
            if not self.args.fp16:  # whose scaler leaves out the steps with such gradients
                self._norms.note(self.state.global_step + 1, norm)
            return norm

        def require_numbers(self) -> None:
            """Raise where the loss or the gradient has been no number since this was asked last.

            Raises:
                UserError: Diverged.
            """
            require_numbers(self, self._norms, float(self._tr_loss), checkpoints)

        def _maybe_log_save_evaluate(self, tr_loss: Any, *rest: Any, **more: Any) -> None:
            if self.resumed is not None:
                tr_loss += self.resumed[0]
                self._globalstep_last_logged, self.resumed = self.resumed[1], None
            if self.control.should_log or self.control.should_save:
                self.require_numbers()
            super()._maybe_log_save_evaluate(tr_loss, *rest, **more)

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            super()._save_checkpoint(model, trial)
            folder = checkpoints / f"checkpoint-{self.state.global_step}"
            if self.args.should_save:
                save_loss(folder, total=self._tr_loss.item(), since=self._globalstep_last_logged)

    return NumbersOnly


class Norms:
    """The gradient norms of the steps since the last look. Each stays on its device: to read one waits for the GPU."""

    def __init__(self) -> None:
        self._by_step: dict[int, Any] = {}

    def note(self, step: int, norm: Any) -> None:
        """Take the norm of a step."""
        self._by_step[step] = norm

    def first_bad(self) -> tuple[int, float] | None:
        """Return the first step whose norm is no number, with that norm, and forget them all."""
        import torch

        steps, norms = list(self._by_step), list(self._by_step.values())
        self._by_step.clear()
        values = torch.stack([torch.as_tensor(norm).float() for norm in norms]).tolist() if norms else []
        return next((one for one in zip(steps, values, strict=True) if not math.isfinite(one[1])), None)


def require_numbers(trainer: Any, norms: Norms, loss: float, checkpoints: Path) -> None:
    """Raise where a norm, or the sum of the losses since the last log, is no number.

    Raises:
        UserError: Diverged.
    """
    if bad := norms.first_bad():
        raise diverged("gradient norm", bad[1], step=bad[0], trainer=trainer, kept=newest_step(checkpoints))
    if not math.isfinite(loss):
        step = trainer.state.global_step
        raise diverged("loss", loss, step=step, trainer=trainer, kept=newest_step(checkpoints))


def diverged(what: str, value: float, *, step: int, trainer: Any, kept: int | None) -> UserError:
    """Return the end of a training whose loss or gradient is no number any more, with what to try instead.

    The same rows, order and random numbers would lead to the same end, so that no other attempt is worth its GPU.
    """
    arguments = trainer.args
    tries = [f"a lower training.learningRate (it is {arguments.learning_rate:g})", "a longer warm-up"]
    if not 0 < arguments.max_grad_norm <= 1:
        tries.append("training.maxGradientNorm: 1")
    if arguments.fp16:
        tries.append("a GPU that computes in bfloat16 (Ampere or newer)")
    *first, last = tries
    where = f"; the checkpoint of step {kept} stays" if kept is not None else ""
    return UserError(
        "Diverged", f"the {what} became {value} at step {step}{where}. Try {', '.join(first)} or {last}"
    )


def newest_step(checkpoints: Path) -> int | None:
    """Return the step of the newest checkpoint on this machine, None where there is none."""
    steps = [int(path.name.rpartition("-")[2]) for path in checkpoints.glob("checkpoint-*")]
    return max(steps, default=None)


def save_loss(folder: Path, *, total: float, since: int) -> None:
    """Keep the sum of the losses since the step that was logged last."""
    (folder / LOSS_SO_FAR).write_text(json.dumps({"total": total, "since": since}))


def saved_loss(checkpoint: Checkpoint) -> tuple[float, int] | None:
    """Return what `save_loss` has kept, None of a checkpoint that an earlier version made."""
    file = checkpoint.path / LOSS_SO_FAR
    if not file.is_file():
        return None
    kept: Mapping[str, Any] = json.loads(file.read_text())
    return float(kept["total"]), int(kept["since"])
