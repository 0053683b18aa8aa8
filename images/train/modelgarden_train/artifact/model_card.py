"""The model card, README.md: beside the manifest for those who own the garden, on a hub for those who find it there.

Both are made of the manifest, so that an artifact can be published long after it was made. A card on a hub names nothing
of where the garden's data lies: no bucket, volume, host or namespace.
"""

from __future__ import annotations

from typing import Final

from modelgarden.api.artifact import Manifest
from modelgarden.api.emissions import JOULES_PER_KWH, EmissionsRecord
from modelgarden.api.evaluation import Score
from modelgarden.api.finetunejob import BaseModelRecord
from modelgarden_train.artifact.card_metadata import (
    HUB,
    Publication,
    front_matter,
    hub_datasets,
    main_format,
    objective_of,
)

__all__ = ["Publication", "model_card"]

_OWN: Final = "of its owner"


def model_card(manifest: Manifest, published: Publication | None = None) -> str:
    """Return the card's Markdown: for the place beside the manifest, or for a hub."""
    parts = (
        f"---\n{front_matter(manifest, published)}\n---\n# {manifest.model_name}",
        _origin(manifest, published),
        f"## Evaluation\n\n{_scores(manifest)}",
        f"## Training\n\n{_data(manifest, published)}",
        _hyperparameters(manifest),
        _weights(manifest),
        f"## Use\n\n{_use(manifest, published)}",
        _gguf(manifest, published),
        f"## Limits\n\n{_limits(manifest)}",
        f"## Energy and emissions\n\n{_energy(manifest.emissions)}",
        f"## Licence\n\n{_licence(manifest, published)}",
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _origin(manifest: Manifest, published: Publication | None) -> str:
    run = manifest.run
    if published is None:
        return f"Made by the FineTuneJob {run.namespace}/{run.name} (run {run.uid})."
    return (
        f"Version {published.version}, made by Model Garden (run {run.uid}, manifest SHA-256 "
        f"`{published.manifest_sha256}`)."
    )


def _scores(manifest: Manifest) -> str:
    scores = manifest.evaluation
    metrics = "\n".join(
        f"| {one.title} | {_score(one.base)} | {_score(one.tuned)} |" for one in scores.metrics
    )
    return f"| held-out score ({scores.rows} rows) | base | tuned |\n|---|---|---|\n{metrics}"


def _score(score: Score) -> str:
    """Return a value with what it is made of, or how sure it is."""
    if score.denominator is not None:
        return f"{score.value} ({score.numerator} of {score.denominator})"
    if score.interval is not None:
        return f"{score.value} (95 %: {score.interval.low} to {score.interval.high})"
    return score.value


def _data(manifest: Manifest, published: Publication | None) -> str:
    dataset = manifest.dataset.status
    return (
        f"Method {manifest.method}, objective {objective_of(manifest)}.\n\n"
        f"Base model: {_model(manifest.base_model, published)}.{_chain(manifest, published)}\n\n"
        f"Dataset: {_sources(manifest, published)}, {dataset.training_rows} rows and {dataset.tokens} tokens to train on, "
        f"{dataset.validation_rows} rows held out, SHA-256 `{dataset.digest}`."
    )


def _model(record: BaseModelRecord, published: Publication | None) -> str:
    shown = published is None or record.source.startswith(HUB)
    place = f"`{record.source}`, revision `{record.revision or 'none'}`" if shown else f"a model {_OWN}"
    return f"{place}, SHA-256 `{record.digest}`"


def _sources(manifest: Manifest, published: Publication | None) -> str:
    if published is None:
        return f"`{manifest.dataset.source}`"
    names = [f"`{HUB}{name}`" for name in hub_datasets(manifest)]
    own = not names or any(not source.uri.startswith(HUB) for source in manifest.dataset.sources)
    return " and ".join([*names, *([f"rows {_OWN}"] if own else [])])


def _chain(manifest: Manifest, published: Publication | None) -> str:
    """Return where the base model is from, if it is the result of an earlier run."""
    parent = manifest.parent
    if parent is None:
        return ""
    made = (
        f", made by the FineTuneJob {manifest.run.namespace}/{parent.job} (manifest `{parent.uri}`, SHA-256 "
        f"`{parent.manifest_sha256}`)"
        if published is None
        else f" (manifest SHA-256 `{parent.manifest_sha256}`)"
    )
    return (
        f"\n\nTrained on from {parent.model_name} version {parent.version}{made}. The first base model of the chain: "
        f"{_model(parent.root, published)}."
    )


def _hyperparameters(manifest: Manifest) -> str:
    settings = "\n".join(f"| {name} | {value} |" for name, value in sorted(manifest.hyperparameters.items()))
    return f"| hyperparameter | value |\n|---|---|\n{settings}"


def _weights(manifest: Manifest) -> str:
    """Return which step's weights these are, where that was chosen by the validation loss."""
    found = manifest.validation
    if found is None or "earlyStoppingPatience" not in manifest.hyperparameters:
        return ""
    total = manifest.hyperparameters["steps"]
    ended = f"stopped early at step {found.step} of {total}" if found.stopped_early else f"had {total} steps"
    return (
        f"The training {ended}; the weights are those of step {found.best_step}, whose validation loss was the lowest, "
        f"{found.best_loss}."
    )


def _use(manifest: Manifest, published: Publication | None) -> str:
    form = main_format(manifest, published)
    name = published.repository if published is not None else f"./{manifest.formats.get(form, '')}"
    match form:
        case "Adapter":
            return (
                "The LoRA weights, to be loaded onto the base model:\n\n```python\nfrom peft import "
                f'AutoPeftModelForCausalLM\n\nmodel = AutoPeftModelForCausalLM.from_pretrained("{name}")\n```'
            )
        case "GGUF":
            return "One file for llama.cpp, Ollama and LM Studio, see below."
        case _:
            return (
                f"```sh\nvllm serve {name}\n```\n\n```python\nfrom transformers import pipeline\n\n"
                f'chat = pipeline("text-generation", model="{name}")\n'
                'print(chat([{"role": "user", "content": "..."}])[0]["generated_text"][-1]["content"])\n```'
            )


def _gguf(manifest: Manifest, published: Publication | None) -> str:
    """Return how the GGUF file is used, and how far it is from the merged model."""
    made = manifest.gguf
    if made is None or (published is not None and published.format != "GGUF"):
        return ""
    file = made.file if published is None else made.file.rpartition("/")[2]
    name = manifest.model_name
    return f"""## GGUF

`{file}` ({made.quantization}) runs in llama.cpp and in Ollama; the chat template is in it.

```sh
llama-server -m {file}
echo "FROM ./{file}" > Modelfile && ollama create {name} -f Modelfile && ollama run {name}
```

llama.cpp loaded it before it was registered: a token of {made.rows} held-out answers differs in its log-probability by \
{made.mean_difference} nats on average from the 16-bit model (allowed: {made.largest_difference}). Its tokenizer splits \
{made.rows_of_same_tokens} of the {made.rows} rows as the model's own does."""


def _limits(manifest: Manifest) -> str:
    return (
        f"It was scored on {manifest.evaluation.rows} rows that were held out of its own training data, and on nothing "
        "else: neither general benchmarks nor safety, bias, other languages or other kinds of questions were measured, and "
        "what the base model is bad at, this one may be too. It is meant for questions like those that it was trained on; "
        "try it on your own before you rely on it."
    )


def _energy(emissions: EmissionsRecord) -> str:
    energy = emissions.energy_joules
    text = (
        f"Of the training alone, all its attempts counted. Energy ({emissions.state}, {emissions.tool}): "
        f"{energy.total / JOULES_PER_KWH:.6f} kWh before PUE over "
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


def _licence(manifest: Manifest, published: Publication | None) -> str:
    known = published.licence if published is not None else None
    root = _model(manifest.root, published)
    if known is None:
        return f"That of the base model ({root}) and of the training data holds; it is not known here."
    named = (
        f"[{known.name or known.identifier}]({known.link})" if known.link else known.name or known.identifier
    )
    return f"{named}, that of the base model ({root}). What the training data's licence asks for holds beside it."
