"""From what a training needs and the GPU it may get: memory, time, energy, emissions, cost, or why it cannot fit. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from modelgarden.api.conditions import Problem
from modelgarden.api.emissions import emissions_milligrams
from modelgarden.api.finetunejob import Estimate, FineTuneJobSpec, Method, Needs, ObjectiveType, Pass
from modelgarden.carbon.factors import carbon_factors
from modelgarden.carbon.intensity import intensity_of
from modelgarden.settings import Settings
from modelgarden.workloads.gpus import Gpu, card_of

UTILISATION: Final = 0.45
"""Share of a card's FLOPs that a training reaches: an 8B Llama on an H100 in docs/benchmarks.md, 15,303 tokens/s."""
_FLOPS: Final[dict[Method, int]] = {"Full": 6, "LoRA": 4, "QLoRA": 4}
"""Per parameter and token: two forward, two back to the inputs, two for the gradients of the weights that are trained
(Kaplan et al. 2020, appendix B)."""
_AGAIN: Final = 2
"""The pass forward once more, with gradient checkpointing."""
_REFERENCE: Final[dict[ObjectiveType, int]] = {"SFT": 0, "DPO": 2, "ORPO": 0, "KTO": 6, "GRPO": 2}
"""Passes forward of the base model that the trained one is held against; KTO's distance between both takes one of each."""
_FORWARD: Final = 2
"""FLOPs of a pass forward, per parameter and token."""
_LIGHTER: Final[dict[Method, tuple[str, ...]]] = {
    "Full": ("method LoRA or QLoRA",),
    "LoRA": ("method QLoRA", "a smaller training.lora.rank"),
    "QLoRA": ("a smaller training.lora.rank",),
}
_GIB: Final = 1024**3


@dataclass(frozen=True)
class Work:
    """What a training has to do."""

    spec: FineTuneJobSpec
    needs: Needs
    rows: int
    """To train on."""
    tokens: int
    """Of one epoch."""
    validation_rows: int = 0
    """Held out."""

    @property
    def gpus(self) -> int:
        """How many of one node share the work."""
        return self.spec.resources.gpus

    @property
    def all_gpus(self) -> int:
        """How many of all nodes do."""
        return self.spec.resources.processes


def estimate_of(work: Work, gpus: Sequence[Gpu], settings: Settings) -> Estimate:
    """Return the estimate, on the largest of the GPUs that the pod may get."""
    gpu = next((gpu for gpu in gpus if gpu.are(work.gpus)), gpus[0] if gpus else None)
    largest = _pass(work.needs.shared(work.all_gpus), gpu)
    return Estimate(
        gpu=gpu.product if gpu is not None else None,
        gpu_total_bytes=gpu.memory_bytes if gpu is not None else None,
        gpu_memory_bytes=largest.bytes,
        tokens_per_pass=largest.tokens,
        gradient_checkpointing=largest.gradient_checkpointing,
        needs=work.needs,
        **_time_and_energy(work, largest, gpu, settings),
    )


def does_not_fit(work: Work, gpus: Sequence[Gpu]) -> Problem | None:
    """Return why the training fits none of the GPUs by any means; None where it may, or where no GPU is known."""
    if not gpus:
        return None
    together = [gpu for gpu in gpus if gpu.are(work.gpus)]
    if not together:
        return _too_few(work, gpus)
    if work.needs.may_fit(together[0].memory_bytes):
        return None
    needs, least, gpu = work.needs, work.needs.least(), together[0]
    passes = least.bytes - needs.weights_bytes - needs.trained_bytes
    method, optimizer = work.spec.method, work.spec.training.optimizer
    *choices, last = (
        *_LIGHTER[method],
        *(["training.optimizer AdamW8bit"] if method == "Full" and optimizer == "AdamW" else []),
        "a smaller training.maxSequenceLength",
        "a smaller base model",
    )
    return Problem(
        "DoesNotFit",
        f"Training takes about {least.bytes / _GIB:.1f} GiB of a GPU even with one row of {needs.longest_row} tokens at a "
        f"time and gradient checkpointing: {needs.weights_bytes / _GIB:.1f} for the weights of the base model, "
        f"{needs.trained_bytes / _GIB:.1f} for {needs.trained_parameters / 1e6:.1f} M trained parameters with gradients and "
        f"{optimizer}, {passes / _GIB:.1f} for the row. The largest GPU of the nodes that podTemplate.nodeSelector allows, "
        f"{gpu.product}, has {gpu.memory_bytes / _GIB:.1f}. Training starts by itself once there is a node with a larger "
        f"one; else create a new FineTuneJob with {', '.join(choices)} or {last}.",
    )


def _too_few(work: Work, gpus: Sequence[Gpu]) -> Problem:
    most = max(gpu.count or 0 for gpu in gpus)
    return Problem(
        "DoesNotFit",
        f"Training asks for {work.gpus} GPUs of one node. Of the nodes that podTemplate.nodeSelector allows, none has more "
        f"than {most}. Training starts by itself once there is one with {work.gpus}; where a pool has such nodes but none "
        f"now, name it in podTemplate.nodeSelector; else create a new FineTuneJob with a resources.gpus of {most} at most, "
        "and more resources.nodes.",
    )


def _pass(needs: Needs, gpu: Gpu | None) -> Pass:
    found = needs.pass_on(gpu.memory_bytes if gpu is not None else None)
    return found or needs.least()


def _time_and_energy(work: Work, largest: Pass, gpu: Gpu | None, settings: Settings) -> dict[str, Any]:
    memory = "gpuMemoryBytes = weights + trained + tokensPerPass x token + logits (needs)."
    card = card_of(gpu) if gpu is not None else None
    if gpu is None or card is None or work.spec.objective.type == "GRPO":  # whose time goes into completions
        return {"method": memory}
    flops = _FLOPS[work.spec.method] + _REFERENCE[work.spec.objective.type]
    if largest.gradient_checkpointing:
        flops += _AGAIN
    validating = _FORWARD + _REFERENCE[work.spec.objective.type]
    computed = flops * _tokens(work) + validating * _validated_tokens(work)
    together = UTILISATION * work.all_gpus * card.teraflops * 1e12
    seconds = computed * work.needs.active_parameters / together
    joules = round(seconds * card.watts * work.all_gpus)
    carbon = carbon_factors(work.spec.carbon, settings)
    intensity = intensity_of(carbon.zone)
    time = (
        f"seconds = {_counted(work, flops, validating)} / "
        f"({UTILISATION:.0%} of {work.all_gpus} x {card.teraflops:g} TFLOPS). "
        f"energyJoules = seconds x {work.all_gpus} x {card.watts} W, the board's limit."
    )
    return {
        "seconds": round(seconds),
        "energy_joules": joules,
        "emissions_milligrams": intensity
        and emissions_milligrams(
            joules, pue_milli=carbon.pue_milli, milligrams_per_kwh=intensity.milligrams_per_kwh
        ),
        "method": f"{memory} {time}",
        **_cost(seconds * work.all_gpus, gpu, settings),
    }


def _tokens(work: Work) -> float:
    """Return the tokens that are trained on, where the training does not stop early."""
    training = work.spec.training
    return work.tokens * training.epochs_in(training.steps(work.rows), work.rows)


def _validated_tokens(work: Work) -> float:
    """Return the tokens of all validations; held-out rows are as long as the others."""
    training = work.spec.training
    if training.validation is None:
        return 0.0
    rows = min(work.validation_rows, work.spec.evaluation.max_rows)
    return training.validation.times(training.steps(work.rows)) * rows * work.tokens / work.rows


def _counted(work: Work, training: int, validating: int) -> str:
    """Return in words which FLOPs are counted."""
    told = f"{training} FLOPs x needs.activeParameters x tokens x epochs"
    if work.spec.training.validation is None:
        return told
    return f"({told} + {validating} x needs.activeParameters x tokens of all validations)"


def _cost(gpu_seconds: float, gpu: Gpu, settings: Settings) -> dict[str, Any]:
    price = settings.gpu_prices.get(gpu.product)
    if price is None:
        return {}
    cost = (price * Decimal(gpu_seconds) / 3600).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
    return {"cost": str(cost), "currency": settings.currency}
