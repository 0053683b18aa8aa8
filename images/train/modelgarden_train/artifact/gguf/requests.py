"""What the trainer asks of llama.cpp's process, and what that answers: one JSON object each way, both of one image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from modelgarden.api.finetunejob import GgufQuantization


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CheckBase(_Message):
    """Whether a base model's architecture and tokenizer can be told in GGUF; its weights need not be there."""

    kind: Literal["check-base"] = "check-base"
    model: Path
    chat_template: str | None
    scratch: Path


class Convert(_Message):
    """Write a model's folder as a GGUF file of 16-bit weights."""

    kind: Literal["convert"] = "convert"
    model: Path
    file: Path
    name: str
    """That the file has for people."""
    as_f16: bool
    """Else the 16-bit type that the folder has."""


class Quantize(_Message):
    """Write a GGUF file of 16-bit weights as a quantised one."""

    kind: Literal["quantize"] = "quantize"
    source: Path
    file: Path
    quantization: GgufQuantization
    threads: int


class RowToScore(_Message):
    """A row as the model's own tokenizer sees it."""

    ids: tuple[int, ...]
    scored_from: Annotated[int, Field(ge=1)]
    """The first token whose log-probability is wanted; all after it are too."""
    text: str
    text_ids: tuple[int, ...]
    """Of the text."""


class Score(_Message):
    """Load a GGUF file and score rows with it."""

    kind: Literal["score"] = "score"
    file: Path
    rows: tuple[RowToScore, ...]
    threads: int


class Answer(_Message):
    """What came of a request."""

    refused: str | None = None
    """Why llama.cpp cannot take the model."""
    losses: tuple[tuple[float, ...], ...] = ()
    """Negative log-likelihoods, row by row."""
    rows_of_same_tokens: int = 0


Request = CheckBase | Convert | Quantize | Score
REQUESTS: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])
