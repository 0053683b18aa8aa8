"""Adapters of 16 bits while they are trained on a GPU, and beside them the weights of 32 bits that the optimizer changes.

Unsloth's layers cast an adapter of 32 bits down each time they use it, and its gradient up: many of the launches of a
step, which is what one of few tokens waits for. The numbers stay the same: the layers compute with the same 16 bits,
and gradients are summed over the passes, and weights changed, in 32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

KEY: Final = "masters"
"""Of the weights in the saved state of an optimizer."""


class Masters:
    """The trained weights of a model in 32 bits, and their gradients."""

    def __init__(self, model: Any, dtype: Any) -> None:
        """Cast a model's trained parameters to a type of 16 bits."""
        import torch

        self._dtype = dtype
        self._held = [parameter for parameter in model.parameters() if parameter.requires_grad]
        """The model's, which its layers compute with."""
        count = sum(parameter.numel() for parameter in self._held)
        self._all = torch.nn.Parameter(self._held[0].new_empty(count, dtype=torch.float32))
        self._all.grad = torch.zeros_like(self._all)
        self._collected = torch.empty_like(self._all, dtype=dtype)
        self._masters = [torch.nn.Parameter(part) for part in self._parts(self._all.data)]
        self._take()

    def lead(self, optimizer: Any) -> None:
        """Have an optimizer that has done nothing yet change these weights, and keep them in its saved state."""
        master_of = dict(zip(map(id, self._held), self._masters, strict=True))
        for group in optimizer.param_groups:
            group["params"] = [master_of[id(parameter)] for parameter in group["params"]]
        optimizer.register_step_pre_hook(lambda *_: self._hand_over())
        optimizer.register_step_post_hook(lambda *_: self._step_done())
        optimizer.register_state_dict_post_hook(lambda _, state: {**state, KEY: self._all.data})
        optimizer.register_load_state_dict_pre_hook(lambda _, state: self._resume(state))

    def gather(self) -> None:
        """Add the gradients of a pass; the model has none afterwards."""
        import torch

        gradients = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for parameter in self._held
        ]
        torch.cat([gradient.reshape(-1) for gradient in gradients], out=self._collected)
        self._all.grad.add_(self._collected)
        for parameter in self._held:
            parameter.grad = None

    @property
    def gradients(self) -> Any:
        """All that were gathered, in 32 bits."""
        return self._all.grad

    def forget(self) -> None:
        """Drop the gradients that were gathered."""
        self._all.grad.zero_()

    def clip(self, most: float) -> Any:
        """Scale the gradients down to a norm; return the norm that they had."""
        import torch

        return torch.nn.utils.clip_grad_norm_([self._all], most)

    def of(self, parameter: Any) -> Any:
        """Return a copy of one of the model's weights in 32 bits."""
        held = next(place for place, one in enumerate(self._held) if one is parameter)
        return self._masters[held].data.clone()

    def restore(self) -> None:
        """Give the model its weights in 32 bits."""
        for parameter, master in zip(self._held, self._masters, strict=True):
            parameter.data = master.data.clone()

    def _parts(self, flat: Any) -> Iterator[Any]:
        sizes = [parameter.numel() for parameter in self._held]
        for parameter, part in zip(self._held, flat.split(sizes), strict=True):
            yield part.view_as(parameter)

    def _hand_over(self) -> None:
        for master, part in zip(self._masters, self._parts(self._all.grad), strict=True):
            master.grad = part

    def _step_done(self) -> None:
        self.forget()
        self._spread()

    def _take(self) -> None:
        """Begin with the weights that the model has."""
        for parameter, master in zip(self._held, self._masters, strict=True):
            master.data.copy_(parameter.data)
        self._spread()

    def _spread(self) -> None:
        """Give the model the weights as they are now; PEFT makes adapters that it loads 32 bits wide."""
        for parameter in self._held:
            if parameter.dtype != self._dtype:
                parameter.data = parameter.data.to(self._dtype)
        _copy(
            from_=[master.data for master in self._masters], to=[parameter.data for parameter in self._held]
        )

    def _resume(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Take the weights of a saved state; one of an earlier version has none, and the model has them."""
        if KEY in state:
            self._all.data.copy_(state[KEY])
            self._spread()
        else:
            self._take()
        return {name: value for name, value in state.items() if name != KEY}


def led(trainer: type, dtype: Any) -> type:
    """Return a class of trainers of Transformers that train in a type of 16 bits, with `masters` from the first step on."""
    from transformers import TrainerCallback

    class Restore(TrainerCallback):  # type: ignore[misc]
        """Gives the model its weights back when the training is over."""

        def __init__(self, led: Led) -> None:
            self._led = led

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self._led.masters.restore()

    class Led(trainer):  # type: ignore[misc]
        """A trainer whose optimizer changes the masters, and gathers gradients after each pass."""

        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.add_callback(Restore(self))

        def create_optimizer(self, model: Any = None) -> Any:
            """Make the masters now: the adapters that a checkpoint brought have taken the place of the first ones."""
            made = self.optimizer is None
            optimizer = super().create_optimizer(model)
            if made:
                self.masters = Masters(self.model, dtype)
                self.masters.lead(optimizer)
            return optimizer

        def training_step(self, *arguments: Any) -> Any:
            loss = super().training_step(*arguments)
            self.masters.gather()
            return loss

        def _clip_grad_norm(self, model: Any) -> Any:
            return self.masters.clip(self.args.max_grad_norm)

        def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
            """Return the norm of gradients that nothing has clipped, too: the model itself has none."""
            unclipped = math.inf
            norm = self.masters.clip(unclipped) if grad_norm is None else grad_norm
            return super()._get_grad_norm(model, norm)

    return Led


def _copy(*, from_: list[Any], to: list[Any]) -> None:
    """Copy tensors in a few launches, whatever their number and types."""
    import torch

    torch._foreach_copy_(to, from_)
