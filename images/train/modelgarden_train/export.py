"""Writes the artifact: the adapter, and the whole model merged in 16 bit, checked against the model that was trained."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelgarden.api.finetunejob import ArtifactFormat, Method
from modelgarden.api.layout import ADAPTER_DIR, MERGED_DIR
from modelgarden.api.pods import RunConfig
from modelgarden_pod.errors import PodError
from modelgarden_train.chat import stop_token_ids, token_ids
from modelgarden_train.evaluation import completion_losses
from modelgarden_train.model import inference, load_model, release_memory
from modelgarden_train.prepared import PreparedRow

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

CHECKED_ROWS = 16
LARGEST_DIFFERENCE: dict[Method, float] = {"LoRA": 0.05, "Full": 0.05, "QLoRA": 0.25}
"""Mean difference of a completion token's log-probability between trained and merged model, in nats. Rounding to
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
            if self._config.method != "Full":
                self._save(self._merge(self._adapter), self._merged)
                release_memory()
            self._check()
            formats["Merged16Bit"] = MERGED_DIR
        return formats

    def _save_adapter(self, model: Any, target: Path) -> None:
        model.save_pretrained(target)
        self._tokenizer.save_pretrained(target)
        path = target / "adapter_config.json"
        settings = json.loads(path.read_text())
        settings["base_model_name_or_path"] = self._config.model_source.removeprefix("hf://")
        path.write_text(json.dumps(settings, indent=2, sort_keys=True))
        (target / "README.md").unlink(missing_ok=True)  # PEFT's blank model card

    def _merge(self, adapter: Path) -> Any:
        """Merge the adapter into the unquantized base, in the precision that the base is loaded with."""
        from peft import PeftModel

        base = load_model(self._config, self._base, four_bit=False)
        return PeftModel.from_pretrained(base, str(adapter)).merge_and_unload(safe_merge=True)

    def _save(self, model: Any, target: Path) -> None:
        model = model.to(storage_dtype(self._base))
        model.generation_config.eos_token_id = self._stop_tokens(model)
        model.generation_config.pad_token_id = self._tokenizer.pad_token_id
        model.config.use_cache = True
        model.save_pretrained(target, safe_serialization=True)
        self._tokenizer.save_pretrained(target)

    def _stop_tokens(self, model: Any) -> list[int]:
        """What ends an answer when it is served: what the base knows, and what the training taught."""
        known = model.generation_config.eos_token_id
        known = [] if known is None else [known] if isinstance(known, int) else known
        completions = token_ids(self._tokenizer, [row.completion for row in self._rows])
        return sorted({*known, *stop_token_ids(self._tokenizer, completions)})

    def _check(self) -> None:
        model = load_model(self._config, self._merged, four_bit=False)
        with inference(model):
            found = completion_losses(model, self._tokenizer, self._rows)
        difference = mean_difference(self._wanted, found)
        logger.info("Checked the merged model", extra={"meanDifference": round(difference, 5)})
        if not difference <= LARGEST_DIFFERENCE[self._config.method]:
            raise PodError(
                "ArtifactInvalid",
                f"the merged model is not the trained one: log-probabilities differ by {difference:.3f} on average",
            )


def mean_difference(wanted: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> float:
    """Return the mean absolute difference of all values."""
    pairs = [pair for one, other in zip(wanted, found, strict=True) for pair in zip(one, other, strict=True)]
    return sum(abs(one - other) for one, other in pairs) / len(pairs)


def storage_dtype(base: Path) -> Any:
    """Return the 16-bit type to store: float16 where the base is float16, else bfloat16, which keeps float32's range."""
    import torch

    settings = json.loads((base / "config.json").read_text())
    name = settings.get("dtype") or settings.get("torch_dtype")
    return torch.float16 if name == "float16" else torch.bfloat16
