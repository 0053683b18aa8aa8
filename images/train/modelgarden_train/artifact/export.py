"""Writes the artifact: the adapter, the whole model merged in 16 bit, checked against the trained one, and as GGUF."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelgarden.api.artifact import GgufRecord
from modelgarden.api.finetunejob import ArtifactFormat, Method
from modelgarden.api.layout import ADAPTER_DIR, GGUF_DIR, MERGED_DIR
from modelgarden.api.pods import RunConfig
from modelgarden_pod.errors import PodError
from modelgarden_train.artifact.differences import Losses, mean_difference
from modelgarden_train.artifact.folder import storage_dtype, write_beside, write_processors
from modelgarden_train.artifact.gguf.export import Merged, write_gguf
from modelgarden_train.artifact.merge import SHARD_BYTES, adapted_tensors, read_from, write_merged
from modelgarden_train.data.chat import stop_token_ids
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.evaluation.inference import completion_losses
from modelgarden_train.evaluation.sight import Sight
from modelgarden_train.models.loading import inference, load_model, release_memory
from modelgarden_train.models.weights import Weights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

CHECKED_ROWS = 16
CHECKED_TOKENS = 2048
"""That are scored together, one row in any case: every pass over them reads all merged weights from the files."""
LARGEST_DIFFERENCE: dict[Method, float] = {"LoRA": 0.05, "Full": 0.05, "QLoRA": 0.25}
"""Mean difference of a reference token's log-probability between trained and merged model, in nats. Rounding to
bfloat16 moves it by about 0.01; a QLoRA merge also swaps the 4-bit base for the 16-bit one. A wrong merge moves it
by what was learned."""


class Export:
    """Writes the formats of one run into a local folder, in the layout of the run."""

    def __init__(
        self,
        config: RunConfig,
        *,
        base: Path,
        target: Path,
        tokenizer: PreTrainedTokenizerBase,
        sight: Sight | None = None,
    ) -> None:
        self._sight = sight
        self._config = config
        self._base = base
        self._tokenizer = tokenizer
        self._target = target
        self._adapter = target / ADAPTER_DIR
        self._merged = target / MERGED_DIR
        self._rows: Sequence[PreparedRow] = ()
        self._wanted: Losses = ()
        self._found: Losses = ()
        """Of the merged model."""
        self.gguf: GgufRecord | None = None

    def require_mergeable(self, model: Any) -> None:
        """Refuse adapters that cannot be merged, before hours are spent on them.

        Raises:
            UserError: ModelInvalid, the base model's files do not have what they change.
        """
        if self._merges:
            adapted_tensors(model, Weights(self._base))

    def save_trained(self, model: Any, rows: Sequence[PreparedRow]) -> None:
        """Write what was trained; the model is not as it was afterwards.

        Raises:
            PodError: the merged model does not answer like the trained one.
        """
        chosen = within_tokens([row.tokens for row in rows[:CHECKED_ROWS]], budget=CHECKED_TOKENS)
        self._rows = [rows[place] for place in chosen]
        self._wanted = self._losses(model)
        if self._config.method == "Full":
            self._save_whole(model)
        elif "Adapter" in self._config.formats:
            self._save_adapter(model)
        if self._merges:
            self._merge(model)

    def finish(self) -> dict[ArtifactFormat, str]:
        """Make what needs no trained model in memory, and check a model of full training; return all formats' folders.

        Raises:
            PodError: the saved model, or its GGUF file, does not answer like the trained one.
        """
        if self._config.method == "Full":
            self._check(load_model(self._config, self._merged, four_bit=False))
            release_memory()
        if "GGUF" in self._config.formats:
            merged = Merged(folder=self._merged, base=self._base, rows=self._rows, losses=self._found)
            self.gguf = write_gguf(self._config, merged, self._target, tokenizer=self._tokenizer)
        folders: dict[ArtifactFormat, str] = {
            "Adapter": ADAPTER_DIR,
            "Merged16Bit": MERGED_DIR,
            "GGUF": GGUF_DIR,
        }
        return {name: folder for name, folder in folders.items() if name in self._config.formats}

    @property
    def _merges(self) -> bool:
        wanted = {"Merged16Bit", "GGUF"} & set(self._config.formats)
        return self._config.method != "Full" and bool(wanted)

    def _merge(self, model: Any) -> None:
        base = Weights(self._base)
        adapted = adapted_tensors(model, base)
        write_merged(base, adapted, self._merged, dtype=storage_dtype(self._base))
        self._write_beside()
        read_from(model, adapted, Weights(self._merged))
        self._check(model)

    def _save_adapter(self, model: Any) -> None:
        model.save_pretrained(self._adapter)
        self._tokenizer.save_pretrained(self._adapter)
        if self._config.vision is not None:
            write_processors(self._adapter, base=self._base, max_pixels=self._config.vision.max_pixels)
        path = self._adapter / "adapter_config.json"
        settings = json.loads(path.read_text())
        settings["base_model_name_or_path"] = self._config.model_source.removeprefix("hf://")
        path.write_text(json.dumps(settings, indent=2, sort_keys=True))
        (self._adapter / "README.md").unlink(missing_ok=True)  # PEFT's blank model card

    def _save_whole(self, model: Any) -> None:
        model.to(storage_dtype(self._base)).save_pretrained(self._merged, max_shard_size=SHARD_BYTES)
        self._write_beside()

    def _write_beside(self) -> None:
        stops = stop_token_ids(self._tokenizer, [row.reference_ids for row in self._rows])
        write_beside(self._merged, base=self._base, tokenizer=self._tokenizer, stop_tokens=stops)
        if self._config.vision is not None:
            write_processors(self._merged, base=self._base, max_pixels=self._config.vision.max_pixels)

    def _losses(self, model: Any) -> list[list[float]]:
        with inference(model):
            return completion_losses(model, self._tokenizer, self._rows, sight=self._sight)

    def _check(self, model: Any) -> None:
        self._found = self._losses(model)
        difference = mean_difference(self._wanted, self._found)
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
