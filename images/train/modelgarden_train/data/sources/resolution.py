"""Which data files a dataset of the hub consists of, as the `datasets` library tells by their names and the cards.

`python -m modelgarden_train.data.sources.resolution FOLDER [CONFIG]` answers on standard output. A process of its own: what
the author of a dataset has written into its card may take neither this process's memory and time nor its credentials,
and the library takes PyTorch for installed or fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

CARDS: Final = ("README.md", ".huggingface.yaml")
"""Files that say which data files make up a configuration and a split."""
_LARGEST_CARD_BYTES: Final = 4 * 1024**2
_SECONDS: Final = 120
"""With 100,000 files it takes about 20."""
_KEPT_VARIABLES: Final = ("PATH", "PYTHONPATH", "HOME", "HF_HOME", "LANG", "TMPDIR")
_OFFLINE: Final = {
    **{name: "1" for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")},
    **{name: "0" for name in ("USE_TORCH", "USE_TF", "USE_JAX")},
}


class ResolutionError(Exception):
    """The files cannot be told; the message says why."""


@dataclass(frozen=True)
class Resolution:
    """What a repository has to choose from."""

    configs: tuple[str, ...]
    config: str | None
    """That is read: the one that was asked for, else the repository's own choice."""
    splits: Mapping[str, list[str]]
    """Of this configuration: the paths of their files."""


def resolve(folder: Path, config: str | None) -> Resolution:
    """Return what there is in a folder that has the names of a repository's files, and its cards.

    Raises:
        ResolutionError: its files cannot be told.
    """
    for card in (folder / name for name in CARDS):
        if card.is_file() and card.stat().st_size > _LARGEST_CARD_BYTES:
            raise ResolutionError(f"{card.name} is larger than {_LARGEST_CARD_BYTES // 1024**2} MiB")
    command = [sys.executable, "-m", __name__, str(folder), *([config] if config else [])]
    environ = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    try:
        answer = subprocess.run(
            command, env=environ | _OFFLINE, capture_output=True, timeout=_SECONDS, check=False, text=True
        )
    except subprocess.TimeoutExpired as error:
        raise ResolutionError(f"that took more than {_SECONDS} s") from error
    if answer.returncode != 0:
        raise ResolutionError(f"that ended with exit code {answer.returncode}")
    said: dict[str, Any] = json.loads(answer.stdout)
    if "error" in said:
        raise ResolutionError(said["error"])
    return Resolution(**said)


def _resolve_here(root: Path, config: str | None) -> Resolution:
    from datasets import get_dataset_config_names, get_dataset_default_config_name, load_dataset_builder

    if any(_leads_elsewhere(text) for text in _file_patterns(root)):
        raise ResolutionError("its card names files elsewhere")
    known = tuple(get_dataset_config_names(str(root)))
    chosen = config or get_dataset_default_config_name(str(root))
    if chosen not in known:
        return Resolution(known, None, {})
    builder = load_dataset_builder(str(root), chosen, cache_dir=str(root / ".cache"))
    found = builder.config.data_files or {}
    return Resolution(known, chosen, {str(split): list(map(str, paths)) for split, paths in found.items()})


def _file_patterns(root: Path) -> Iterator[str]:
    """Yield what the cards say of files; the library would go to other hosts or folders for some of it."""
    from huggingface_hub import DatasetCard
    from yaml import safe_load

    card, standalone = (root / name for name in CARDS)
    if card.is_file():
        yield from _texts(DatasetCard.load(card).data.to_dict().get("configs"))
    if standalone.is_file():
        yield from _texts(safe_load(standalone.read_text()))


def _leads_elsewhere(pattern: str) -> bool:
    return "://" in pattern or "::" in pattern or pattern.startswith("/") or ".." in pattern.split("/")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _answer(root: Path, config: str | None) -> dict[str, Any]:
    try:
        return asdict(_resolve_here(root, config))
    except ResolutionError as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001 -- of a card that is what its author likes, the library raises what it likes
        return {"error": f"its files cannot be told: {error or type(error).__name__}"}


if __name__ == "__main__":
    folder, *asked = sys.argv[1:]
    answer = json.dumps(_answer(Path(folder), asked[0] if asked else None))
    sys.stdout.write(answer)
