"""The model card: README.md with the front matter that the Hugging Face hub reads. Emissions there are in grams."""

from __future__ import annotations

import json
from typing import Any

from modelgarden.api.artifact import GgufRecord
from modelgarden.api.emissions import JOULES_PER_KWH, EmissionsRecord
from modelgarden.api.evaluation import Score
from modelgarden.api.pods import RunConfig
from modelgarden_train.artifact.results import Results


def model_card(config: RunConfig, results: Results, emissions: EmissionsRecord) -> str:
    """Return the card's Markdown."""
    scores = results.evaluation.scores
    front = "\n".join(
        f"{key}: {json.dumps(value)}" for key, value in _front_matter(config, emissions).items()
    )
    metrics = "\n".join(
        f"| {one.title} | {_score(one.base)} | {_score(one.tuned)} |" for one in scores.metrics
    )
    settings = "\n".join(f"| {name} | {value} |" for name, value in sorted(results.hyperparameters.items()))
    dataset = results.dataset.status
    return f"""---
{front}
---
# {config.model_name}

Made by the FineTuneJob {config.run.namespace}/{config.run.name} (run {config.run.uid}).

| held-out score ({scores.rows} rows) | base | tuned |
|---|---|---|
{metrics}

Base model: `{results.base_model.source}`, revision `{results.base_model.revision or "none"}`, \
SHA-256 `{results.base_model.digest}`.{_chain(config)}

Dataset: `{results.dataset.source}`, {dataset.training_rows} rows and {dataset.tokens} tokens to train on, \
{dataset.validation_rows} rows held out, SHA-256 `{dataset.digest}`.

| hyperparameter | value |
|---|---|
{settings}
{_validation(config, results)}
{_gguf(config, results.gguf)}{_energy(emissions)}
"""


def _front_matter(config: RunConfig, emissions: EmissionsRecord) -> dict[str, Any]:
    front: dict[str, Any] = {
        "library_name": "transformers",
        "tags": [config.method.lower(), "unsloth", "trl", "sft"],
    }
    # The hub knows none of the results between the first base model and this one.
    base = config.model_source if config.parent is None else config.parent.root.source
    if base.startswith("hf://"):
        front["base_model"] = base.removeprefix("hf://")
    if emissions.emissions_milligrams is not None and emissions.intensity is not None:
        front["co2_eq_emissions"] = {
            "emissions": emissions.emissions_milligrams / 1000,
            "source": f"{emissions.tool}, {emissions.intensity.source}",
            "training_type": "fine-tuning",
            "geographical_location": emissions.intensity.zone,
        }
    return front


def _chain(config: RunConfig) -> str:
    """Return where the base model is from, if it is the result of an earlier run."""
    parent = config.parent
    if parent is None:
        return ""
    root = parent.root
    return (
        f"\n\nTrained on from {parent.model_name} version {parent.version}, made by the FineTuneJob "
        f"{config.run.namespace}/{parent.job} (manifest `{parent.uri}`, SHA-256 `{parent.manifest_sha256}`). "
        f"The first base model of the chain: `{root.source}`, revision `{root.revision or 'none'}`, SHA-256 "
        f"`{root.digest}`."
    )


def _gguf(config: RunConfig, made: GgufRecord | None) -> str:
    """Return how the GGUF file is used, and how far it is from the merged model."""
    if made is None:
        return ""
    return f"""## GGUF

`{made.file}` ({made.quantization}) runs in llama.cpp and in Ollama; the chat template is in it.

```sh
llama-server -m {made.file}
echo "FROM ./{made.file}" > Modelfile && ollama create {config.model_name} -f Modelfile && ollama run {config.model_name}
```

llama.cpp loaded it before it was registered: a token of {made.rows} held-out answers differs in its log-probability by \
{made.mean_difference} nats on average from the 16-bit model (allowed: {made.largest_difference}). Its tokenizer splits \
{made.rows_of_same_tokens} of the {made.rows} rows as the model's own does.

"""


def _score(score: Score) -> str:
    """Return a value with what it is made of, or how sure it is."""
    if score.denominator is not None:
        return f"{score.value} ({score.numerator} of {score.denominator})"
    if score.interval is not None:
        return f"{score.value} (95 %: {score.interval.low} to {score.interval.high})"
    return score.value


def _validation(config: RunConfig, results: Results) -> str:
    """Return which step's weights these are, where that was chosen by the validation loss."""
    found = results.validation
    if found is None or config.training.early_stopping is None:
        return ""
    total = results.hyperparameters["steps"]
    ended = f"stopped early at step {found.step} of {total}" if found.stopped_early else f"had {total} steps"
    return (
        f"\nThe training {ended}; the weights are those of step {found.best_step}, whose validation loss was the lowest, "
        f"{found.best_loss}.\n"
    )


def _energy(emissions: EmissionsRecord) -> str:
    energy = emissions.energy_joules
    text = (
        f"Energy ({emissions.state}, {emissions.tool}): {energy.total / JOULES_PER_KWH:.6f} kWh before PUE over "
        f"{len(emissions.attempts)} attempt(s): GPU {energy.gpu} J ({emissions.methods.gpu}), CPU {energy.cpu} J "
        f"({emissions.methods.cpu}), memory {energy.ram} J ({emissions.methods.ram})."
    )
    if emissions.emissions_milligrams is None or emissions.intensity is None:
        return f"{text} Emissions are unknown, as no zone was given."
    return (
        f"{text} Emissions: {emissions.emissions_milligrams / 1000:.3f} g CO2eq with PUE "
        f"{emissions.pue_milli / 1000:.3f} and {emissions.intensity.milligrams_per_kwh / 1000:.1f} g/kWh "
        f"({emissions.intensity.zone} {emissions.intensity.data_year})."
    )
