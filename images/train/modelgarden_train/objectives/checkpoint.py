"""A checkpoint of a training, as it lies on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine."""

    step: int
    path: Path
