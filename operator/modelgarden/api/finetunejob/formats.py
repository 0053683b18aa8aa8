"""The formats of an artifact."""

from __future__ import annotations

from typing import Final, Literal

ArtifactFormat = Literal["Adapter", "Merged16Bit", "GGUF"]
USED_FORMAT: Final[ArtifactFormat] = "Merged16Bit"
"""What is served of an artifact, and trained on from."""
