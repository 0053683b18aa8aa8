"""Makes the GGUF file of a merged model: 16-bit weights, then the quantised ones, then a trial by llama.cpp's engine."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelgarden.api.artifact import GgufRecord
from modelgarden.api.finetunejob import GgufQuantization
from modelgarden.api.layout import GGUF_DIR
from modelgarden.api.pods import RunConfig
from modelgarden_pod.errors import PodError, UserError
from modelgarden_train.artifact.differences import Losses, mean_difference
from modelgarden_train.artifact.gguf.conversion import stage
from modelgarden_train.artifact.gguf.requests import (
    Answer,
    CheckBase,
    Convert,
    Quantize,
    Request,
    RowToScore,
    Score,
)
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.models.environment import cpu_count

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

LARGEST_DIFFERENCE: Final[dict[GgufQuantization, float]] = {
    "F16": 0.05,
    "Q8_0": 0.1,
    "Q5_K_M": 0.25,
    "Q4_K_M": 0.5,
}
"""Mean difference of a reference token's log-probability between merged model and file, in nats. Small models lose most by
few bits; a file that is wrong is off by several nats."""
_PROGRAM: Final = ("-m", "modelgarden_train.artifact.gguf.program")


@dataclass(frozen=True)
class Merged:
    """A merged model, and what it makes of rows."""

    folder: Path
    base: Path
    """Folder of the base model."""
    rows: Sequence[PreparedRow]
    losses: Losses
    """Of their reference answers."""


def require_convertible(config: RunConfig, model: Path) -> None:
    """Refuse a base model that cannot become a GGUF file; only its configuration and tokenizer need be there.

    Raises:
        UserError: InvalidConfiguration.
        PodError: llama.cpp fails.
    """
    if "GGUF" not in config.formats:
        return
    with tempfile.TemporaryDirectory() as scratch:
        answer = _ask(
            CheckBase(model=model, chat_template=config.dataset.chat_template, scratch=Path(scratch))
        )
    if answer.refused is not None:
        raise UserError(
            "InvalidConfiguration",
            f"the base model cannot be exported as GGUF: {answer.refused}. Create a new FineTuneJob without GGUF in "
            "output.formats, or with another base model",
        )


def write_gguf(
    config: RunConfig, merged: Merged, target: Path, *, tokenizer: PreTrainedTokenizerBase
) -> GgufRecord:
    """Write the file below the artifact's folder and hold it against the merged model.

    Raises:
        PodError: ArtifactInvalid, it does not answer like the merged model; or llama.cpp fails.
    """
    quantization = config.gguf_quantization
    folder = target / GGUF_DIR
    folder.mkdir(parents=True, exist_ok=True)  # another attempt may have begun on this machine
    file = folder / f"{config.model_name}-{quantization}.gguf"
    _make(config, merged, file)
    rows = tuple(row_to_score(row, tokenizer) for row in merged.rows)
    answer = _ask(Score(file=file, rows=rows, threads=cpu_count()))
    difference, limit = mean_difference(merged.losses, answer.losses), LARGEST_DIFFERENCE[quantization]
    logger.info(
        "Checked the GGUF file",
        extra={"meanDifference": round(difference, 5), "rowsOfSameTokens": answer.rows_of_same_tokens},
    )
    if not difference <= limit:
        raise PodError(
            "ArtifactInvalid",
            f"the GGUF file ({quantization}) is not the trained model: log-probabilities differ by {difference:.3f} on "
            f"average, and {limit} is allowed; take another output.gguf.quantization",
        )
    return GgufRecord(
        file=str(file.relative_to(target)),
        quantization=quantization,
        rows=len(rows),
        mean_difference=f"{difference:.5f}",
        largest_difference=str(limit),
        rows_of_same_tokens=answer.rows_of_same_tokens,
    )


def _make(config: RunConfig, merged: Merged, file: Path) -> None:
    quantization = config.gguf_quantization
    with tempfile.TemporaryDirectory(dir=file.parent.parent) as scratch:
        staged, whole = Path(scratch) / "model", Path(scratch) / "whole.gguf"
        stage(staged, model=merged.folder, base=merged.base)
        plain = quantization == "F16"
        _ask(Convert(model=staged, file=file if plain else whole, name=config.model_name, as_f16=plain))
        if not plain:
            _ask(Quantize(source=whole, file=file, quantization=quantization, threads=cpu_count()))


def row_to_score(row: PreparedRow, tokenizer: PreTrainedTokenizerBase) -> RowToScore:
    """Return the row as it is scored, with the tokens of its text."""
    first, end = row.spans[-1]
    ids = row.input_ids[:end]
    text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    text_ids = tokenizer.encode(text, add_special_tokens=False)
    return RowToScore(ids=tuple(ids), scored_from=first, text=text, text_ids=tuple(text_ids))


def _ask(request: Request) -> Answer:
    """Have llama.cpp do something in a process of its own, without network or GPU.

    Raises:
        PodError: TrainingFailed, it ends without an answer.
    """
    done = subprocess.run(
        [sys.executable, *_PROGRAM],
        input=request.model_dump_json().encode(),
        capture_output=True,
        check=False,
        env={**environ, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"},
    )
    if done.returncode != 0:
        log = done.stderr.decode(errors="replace")
        logger.error("llama.cpp failed", extra={"request": request.kind, "log": log[-8000:]})
        last = next((line for line in reversed(log.splitlines()) if line.strip()), "without a word")
        raise PodError("TrainingFailed", f"llama.cpp failed (exit code {done.returncode}): {last.strip()}")
    return Answer.model_validate_json(done.stdout)
