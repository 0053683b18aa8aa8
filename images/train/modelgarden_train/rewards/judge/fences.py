"""Models like to answer with a block of Markdown, which is taken off before the text in it is read."""

from __future__ import annotations

from typing import Final

_FENCE: Final = "```"


def unfenced(text: str, language: str) -> str:
    """Return the text within the one fence that is the whole completion, else the text itself. Pure."""
    lines = text.strip().splitlines()
    if len(lines) < 2 or lines[-1].strip() != _FENCE:
        return text
    if lines[0].strip().lower() not in (_FENCE, _FENCE + language):
        return text
    inner = lines[1:-1]
    return text if any(line.startswith(_FENCE) for line in inner) else "\n".join(inner)
