"""The licence of a base model, as its own card on the hub tells it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelgarden_train.hub.asking import end_silence

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Licence:
    """What a model card's metadata says of a licence."""

    identifier: str
    """Such as apache-2.0, or other."""
    name: str | None = None
    """Of one that the hub has no identifier for."""
    link: str | None = None


def licence_of(source: str, revision: str | None) -> Licence | None:
    """Return the licence of an hf:// model; None where it is elsewhere, names none, or the hub does not tell."""
    if not source.startswith("hf://"):
        return None
    from huggingface_hub import HfApi, get_session

    try:
        end_silence(get_session())
        info = HfApi(token=False).model_info(source.removeprefix("hf://"), revision=revision)
    except Exception as error:  # noqa: BLE001 -- a private or absent model, a hub that is away: the card does without
        logger.warning("The base model's licence is not known", extra={"error": str(error)})
        return None
    return read_licence(info.card_data.to_dict() if info.card_data is not None else {})


def read_licence(card: Mapping[str, Any]) -> Licence | None:
    """Return the licence that a card's metadata names."""
    identifier, name, link = (card.get(key) for key in ("license", "license_name", "license_link"))
    if not isinstance(identifier, str):
        return None
    return Licence(
        identifier, name if isinstance(name, str) else None, link if isinstance(link, str) else None
    )
