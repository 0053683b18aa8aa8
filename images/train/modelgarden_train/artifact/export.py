"""Writes the artifact: the adapter, and the whole model merged in 16 bit, checked against the model that was trained."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelgarden.api.finetunejob import ArtifactFormat, Method
from modelgarden.api.layout import ADAPTER_DIR, MERGED_DIR
from modelgarden.api.pods import RunConfig
from modelgarden_pod.errors import PodError
from modelgarden_train.artifact.merge import (
    MergeTask,
    merge_on_cpu,
    save_model,
    storage_dtype,
    with_adapter_merged,
)
from modelgarden_train.artifact.room import bytes_in_16_bit, fits_gpu
from modelgarden_train.data.chat import stop_token_ids
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.evaluation.inference import completion_losses
from modelgarden_train.models.loading import inference, load_model, release_memory

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

CHECKED_ROWS = 16
CPU_TOKENS = 1024
"""Tokens that are scored on a CPU: a model of 8 B parameters takes 16 TFLOP for them."""
LARGEST_DIFFERENCE: dict[Method, float] = {"LoRA": 0.05, "Full": 0.05, "QLoRA": 0.25}
"""Mean difference of a reference token's log-probability between trained and merged model, in nats. Rounding to
bfloat16 moves it by about 0.01; a QLoRA merge also swaps the 4-bit base for the 16-bit one. A wrong merge moves it
by what was learned."""


class Export:
    """Writes the formats of one run into a local folder, in the layout of the run."""

    def __init__(
        self, config: RunConfig, *, base: Path, target: Path, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self._config = config
        self._base = base
        self._tokenizer = tokenizer
        self._adapter = target / ADAPTER_DIR
        self._merged = target / MERGED_DIR
        self._rows: Sequence[PreparedRow] = ()
        self._wanted: list[list[float]] = []

    def save_trained(self, model: Any, rows: Sequence[PreparedRow]) -> None:
        """Save what was trained, and what it makes of the first held-out rows."""
        self._rows = rows[:CHECKED_ROWS]
        with inference(model):
            self._wanted = completion_losses(model, self._tokenizer, self._rows)
        if self._config.method == "Full":
            self._save(model, self._merged)
        else:
            self._save_adapter(model, self._adapter)

    def finish(self) -> dict[ArtifactFormat, str]:
        """Make the formats that the run asks for, once the trained model has left the memory; return their folders.

        Raises:
            PodError: the merged model does not answer like the trained one.
        """
        formats: dict[ArtifactFormat, str] = {}
        if "Adapter" in self._config.formats:
            formats["Adapter"] = ADAPTER_DIR
        if "Merged16Bit" in self._config.formats:
            self._finish_merged()
            formats["Merged16Bit"] = MERGED_DIR
        return formats

    def _finish_merged(self) -> None:
        if self._config.method != "QLoRA":
            return self._merge_here()
        import torch

        free, _ = torch.cuda.mem_get_info()
        if fits_gpu(bytes_in_16_bit(self._base), gpu=free):
            try:
                return self._merge_here()
            except torch.OutOfMemoryError:
                pass  # left first: the exception keeps every tensor alive
            release_memory()
        logger.info("The 16-bit model does not fit the GPU: merging on the CPU", extra={"freeBytes": free})
        return self._merge_on_cpu()

    def _merge_here(self) -> None:
        """Merge on the device that was trained on, and score what was written."""
        if self._config.method != "Full":
            base = load_model(self._config, self._base, four_bit=False)
            self._save(with_adapter_merged(base, self._adapter), self._merged)
            del base
            release_memory()
        model = load_model(self._config, self._merged, four_bit=False)
        with inference(model):
            found = completion_losses(model, self._tokenizer, self._rows)
        self._check(self._wanted, found)

    def _merge_on_cpu(self) -> None:
        """Merge in the pod's memory, and score as many rows as a CPU does in minutes."""
        shutil.rmtree(self._merged, ignore_errors=True)
        chosen = within_tokens([row.tokens for row in self._rows], budget=CPU_TOKENS)
        task = MergeTask(
            base=self._base,
            adapter=self._adapter,
            target=self._merged,
            stop_tokens=tuple(self._stop_tokens()),
            chat_template=self._config.dataset.chat_template,
            rows=tuple(self._rows[place] for place in chosen),
        )
        self._check([self._wanted[place] for place in chosen], merge_on_cpu(task))

    def _save_adapter(self, model: Any, target: Path) -> None:
        model.save_pretrained(target)
        self._tokenizer.save_pretrained(target)
        path = target / "adapter_config.json"
        settings = json.loads(path.read_text())
        settings["base_model_name_or_path"] = self._config.model_source.removeprefix("hf://")
        path.write_text(json.dumps(settings, indent=2, sort_keys=True))
        (target / "README.md").unlink(missing_ok=True)  # PEFT's blank model card

    def _save(self, model: Any, target: Path) -> None:
        save_model(
            model.to(storage_dtype(self._base)),
            target,
            tokenizer=self._tokenizer,
            stop_tokens=self._stop_tokens(),
        )

    def _stop_tokens(self) -> list[int]:
        """What ends an answer, as the training taught it."""
        return stop_token_ids(self._tokenizer, [row.reference_ids for row in self._rows])

    def _check(self, wanted: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> None:
        difference = mean_difference(wanted, found)
        logger.info("Checked the merged model", extra={"meanDifference": round(difference, 5)})
        if not difference <= LARGEST_DIFFERENCE[self._config.method]:
            raise PodError(
                "ArtifactInvalid",
                f"the merged model is not the trained one: log-probabilities differ by {difference:.3f} on average",
            )


def within_tokens(tokens: Sequence[int], *, budget: int) -> list[int]:
    """Return the places of the shortest rows that have no more tokens than the budget together, of one at least."""
    chosen: list[int] = []
    for place in sorted(range(len(tokens)), key=tokens.__getitem__):
        budget -= tokens[place]
        if chosen and budget < 0:
            break
        chosen.append(place)
    return sorted(chosen)


def mean_difference(wanted: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> float:
    """Return the mean absolute difference of all values."""
    pairs = [pair for one, other in zip(wanted, found, strict=True) for pair in zip(one, other, strict=True)]
    return sum(abs(one - other) for one, other in pairs) / len(pairs)
