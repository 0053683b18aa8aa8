"""The metadata of a model card, as the Hugging Face hub reads it: the front matter of README.md. Pure.

https://github.com/huggingface/hub-docs/blob/main/modelcard.md. Emissions there are in grams.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelgarden.api.artifact import Manifest
from modelgarden.api.emissions import EmissionsRecord
from modelgarden.api.evaluation import Metric
from modelgarden.api.finetunejob import USED_FORMAT, ArtifactFormat
from modelgarden_train.hub.licence import Licence

HUB: Final = "hf://"
TASK: Final = "text-generation"
_RELATIONS: Final[Mapping[ArtifactFormat, str]] = {
    "Adapter": "adapter",
    "Merged16Bit": "finetune",
    "GGUF": "quantized",
}
_LIBRARIES: Final[Mapping[ArtifactFormat, str]] = {
    "Adapter": "peft",
    "Merged16Bit": "transformers",
    "GGUF": "gguf",
}


@dataclass(frozen=True)
class Publication:
    """What a card on a hub is of: one format of a registered version, in a repository of its own."""

    repository: str
    format: ArtifactFormat
    version: int
    manifest_sha256: str
    licence: Licence | None = None


def front_matter(manifest: Manifest, published: Publication | None) -> str:
    """Return the metadata as YAML, a line each, whose values are JSON."""
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in _metadata(manifest, published).items())


def main_format(manifest: Manifest, published: Publication | None) -> ArtifactFormat:
    """Return the format that a card is about: beside the manifest, the most useful one of all."""
    if published is not None:
        return published.format
    return USED_FORMAT if USED_FORMAT in manifest.formats else next(iter(manifest.formats), USED_FORMAT)


def hub_datasets(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of the datasets that are on the hub."""
    uris = [source.uri for source in manifest.dataset.sources] or [manifest.dataset.source]
    return tuple(dict.fromkeys(uri.removeprefix(HUB) for uri in uris if uri.startswith(HUB)))


def objective_of(manifest: Manifest) -> str:
    """Return what was trained towards; runs of before objectives were of one kind."""
    return manifest.hyperparameters.get("objective", "SFT")


def _metadata(manifest: Manifest, published: Publication | None) -> dict[str, Any]:
    form = main_format(manifest, published)
    found: dict[str, Any] = {
        **_licence(published.licence if published is not None else None),
        "library_name": _LIBRARIES[form],
        "pipeline_tag": TASK,
        "tags": _tags(manifest, form),
    }
    # The hub knows none of the results between the first base model and this one.
    if manifest.root.source.startswith(HUB):
        found["base_model"] = manifest.root.source.removeprefix(HUB)
        found["base_model_relation"] = _RELATIONS[form]
    if datasets := hub_datasets(manifest):
        found["datasets"] = list(datasets)
    if manifest.evaluation.metrics:
        found["metrics"] = [_identifier(metric) for metric in manifest.evaluation.metrics]
        found["model-index"] = [_results(manifest)]
    if emissions := _emissions(manifest.emissions):
        found["co2_eq_emissions"] = emissions
    return found


def _licence(licence: Licence | None) -> dict[str, str]:
    if licence is None:
        return {}
    told = {"license": licence.identifier, "license_name": licence.name, "license_link": licence.link}
    return {key: value for key, value in told.items() if value is not None}


def _tags(manifest: Manifest, form: ArtifactFormat) -> list[str]:
    tags = [manifest.method.lower(), objective_of(manifest).lower(), "trl", "conversational"]
    if "unsloth" in manifest.versions:
        tags.append("unsloth")
    if form == "GGUF":
        tags.append("gguf")
    return [*dict.fromkeys(tags), "model-garden"]


def _results(manifest: Manifest) -> dict[str, Any]:
    """Return the tuned model's scores as an entry of model-index."""
    datasets = hub_datasets(manifest)
    dataset = {
        "type": datasets[0] if len(datasets) == 1 else "private",
        "name": f"held-out rows of {' and '.join(datasets)}"
        if datasets
        else "held-out rows of its own dataset",
    }
    metrics = [
        {"type": _identifier(metric), "name": metric.title, "value": value}
        for metric in manifest.evaluation.metrics
        if math.isfinite(value := float(metric.tuned.value))
    ]
    task = {"type": TASK, "name": "Text generation"}
    return {"name": manifest.model_name, "results": [{"task": task, "dataset": dataset, "metrics": metrics}]}


def _identifier(metric: Metric) -> str:
    """Return the name as the hub's metrics are called: exactMatch is exact_match."""
    return re.sub(r"([A-Z])", lambda letter: f"_{letter[1].lower()}", metric.name)


def _emissions(record: EmissionsRecord) -> dict[str, Any] | None:
    """Return grams over all attempts, None where they are not known."""
    if record.emissions_milligrams is None or record.intensity is None:
        return None
    gpus = len(record.devices)
    return {
        "emissions": record.emissions_milligrams / 1000,
        "source": f"{record.tool}, {record.intensity.source}",
        "training_type": "fine-tuning",
        "geographical_location": record.intensity.zone,
        "hardware_used": f"{gpus} GPU{'s' if gpus > 1 else ''}" if gpus else "CPU",
    }
