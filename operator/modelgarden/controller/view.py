"""All that a plan is made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from modelgarden.settings import Settings

Subject = TypeVar("Subject")
Seen = TypeVar("Seen")


@dataclass(frozen=True)
class View(Generic[Subject, Seen]):
    """One resource, what was seen of its surroundings, and the clock."""

    subject: Subject
    seen: Seen
    settings: Settings
    now: datetime
