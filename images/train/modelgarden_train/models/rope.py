"""A base model with more positions: its config.json scales them (RoPE), its other files are those that it has.

What loads the model, and what is merged or converted from it, reads that config.json, so that a merged model is served
with the positions that it was trained with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from modelgarden.api.finetunejob import RopeScaling
from modelgarden_pod.errors import UserError

_CONFIGURATION: Final = "config.json"
_POSITIONS: Final = "max_position_embeddings"
_KINDS: Final = {"YaRN": "yarn", "Linear": "linear"}
"""As Transformers, vLLM and llama.cpp name them."""


def with_more_positions(folder: Path, target: Path, scaling: RopeScaling, *, source: str) -> Path:
    """Return a folder of links to a model's files, beside a config.json of its own.

    Raises:
        UserError: ModelInvalid, the model's positions cannot be scaled.
    """
    settings = scaled(json.loads((folder / _CONFIGURATION).read_text()), scaling, source=source)
    target.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        link = target / path.name
        if path.name != _CONFIGURATION and not link.is_symlink():
            link.symlink_to(path.resolve())
    (target / _CONFIGURATION).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    return target


def scaled(settings: Mapping[str, Any], scaling: RopeScaling, *, source: str) -> dict[str, Any]:
    """Return a model's config.json with more positions. Pure.

    Raises:
        UserError: ModelInvalid.
    """
    positions = settings.get(_POSITIONS)
    if not isinstance(positions, int) or positions < 1:
        raise _refused(source, f"its config.json has no {_POSITIONS}")
    place = "rope_parameters" if "rope_parameters" in settings else "rope_scaling"
    known = settings.get(place) or {}
    if not isinstance(known, Mapping) or any(isinstance(value, Mapping) for value in known.values()):
        raise _refused(source, "its layers have rotary positions (RoPE) of several kinds")
    kind = known.get("rope_type") or known.get("type") or "default"
    if kind != "default":
        raise _refused(source, f"its positions are scaled already ({kind})")
    if "rope_theta" not in settings and "rope_theta" not in known:
        raise _refused(source, "its config.json names no rope_theta, so its positions are not rotary (RoPE)")
    kept = {name: value for name, value in known.items() if name not in ("rope_type", "type")}
    parameters = {
        "rope_type": _KINDS[scaling.type],
        "factor": scaling.factor,
        "original_max_position_embeddings": positions,
    }
    return {**settings, place: kept | parameters, _POSITIONS: int(positions * scaling.factor)}


def _refused(source: str, why: str) -> UserError:
    return UserError(
        "ModelInvalid",
        f"training.ropeScaling cannot be had of {source}: {why}; remove it, or take another base model",
    )
