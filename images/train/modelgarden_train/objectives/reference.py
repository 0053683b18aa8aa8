"""Trainers of TRL that hold the trained model against the base model, on rows that are tokens already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

from modelgarden_train.data.batching import in_batches
from modelgarden_train.models.loading import compute_dtype
from modelgarden_train.objectives.passes import Passes, StepRow, StepRows, on_device
from modelgarden_train.parallel.ranks import Ranks
from modelgarden_train.parallel.shares import in_shares


def in_16_bits(device: Any) -> Any:
    """Return the context of a pass forward: TRL asks the backbone itself, whose norms are of 32 bits, and for method Full
    Unsloth has switched off what would cast between them.
    """
    import torch

    return torch.autocast(device.type, dtype=compute_dtype(), enabled=device.type == "cuda")


def log_likelihoods(model: Any, inputs: Mapping[str, Any]) -> Any:
    """Return those of the answers' tokens of a pass; shape (rows, longest - 1)."""
    ids = inputs["input_ids"]
    with in_16_bits(ids.device):
        outputs = model(
            input_ids=ids,
            attention_mask=inputs["attention_mask"],
            labels=ids.masked_fill(inputs["completion_mask"] == 0, -100),
            use_cache=False,
            fused_lm_head=True,
        )
    return outputs.log_probs


def against_the_base_model(trainer: type, columns: tuple[str, str]) -> type:
    """Return a class of trainers of TRL whose reference is the base model and that takes its rows as they are.

    Where no adapter can be switched off, the base model answers for all rows before it is trained; the columns are those
    in which TRL looks for that.
    """

    class Referring(trainer):  # type: ignore[misc]
        """The trainer with the base model as its reference."""

        passes: Passes
        step: StepRows
        own: Sequence[StepRow]
        ranks: Ranks

        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            if "ref" in getattr(self.model, "peft_config", {}):
                # A copy of the adapters as they begin, which are the base model: that is had without them.
                self.model.delete_adapter("ref")

        def batches(self, rows: Iterable[StepRow]) -> Iterator[dict[str, Any]]:
            """Yield rows as tensors, as many at a time as a pass may have."""
            form = self.passes.form
            for batch in in_batches(rows, size=form.width, most=self.passes.plan.budget):
                yield on_device(form.tensors(batch), self.args.device)

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            """Return the loss of a pass."""
            with in_16_bits(self.args.device):
                return super().compute_loss(model, inputs)

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, dataset: Any, *_: Any) -> Any:
            """Add the log-likelihoods that the base model gives, those that TRL asks for."""
            found = in_shares(list(dataset), self._answered, width=self.passes.form.width, ranks=self.ranks)
            return _with_columns(dataset, zip(columns, zip(*found, strict=True), strict=True))

        def _answered(self, rows: Sequence[StepRow]) -> list[tuple[float | None, ...]]:
            """Return what the base model gives of each row; None of what is not asked for."""
            found: list[tuple[float | None, ...]] = []
            for inputs in self.batches(rows):
                with in_16_bits(self.args.device):
                    answered = self.compute_ref_log_probs(self.model, inputs)
                found += zip(*(repeat(None) if one is None else one.tolist() for one in answered))  # noqa: B905
            return found

    return Referring


def _with_columns(dataset: Any, columns: Iterable[tuple[str, Sequence[float | None]]]) -> Any:
    """Return a dataset with these columns, those without values left out."""
    for name, values in columns:
        dataset = dataset.add_column(name, list(values)) if values[0] is not None else dataset
    return dataset
