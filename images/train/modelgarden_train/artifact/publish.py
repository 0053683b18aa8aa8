"""Uploads what a run has made; the manifest comes last and commits it. Doing it twice does no harm."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from modelgarden.api.artifact import FileEntry, Manifest
from modelgarden.api.documents import TRAIN_IMAGE
from modelgarden.api.emissions import AttemptEmissions, EmissionsRecord, merge_records
from modelgarden.api.layout import EMISSIONS, EVALUATION, MANIFEST, MODEL_CARD
from modelgarden.api.pods import RunConfig, TerminationMessage
from modelgarden_pod.documents import read_document
from modelgarden_pod.energy import timestamp
from modelgarden_pod.folder import Folder
from modelgarden_pod.storage import read_or_none, upload_tree
from modelgarden_train.artifact.model_card import model_card
from modelgarden_train.artifact.results import Results

LIBRARIES = (
    "unsloth", "unsloth_zoo", "trl", "transformers", "peft", "accelerate", "torch", "bitsandbytes", "safetensors",
    "tokenizers", "codecarbon",
)  # fmt: skip


def published(folder: Folder) -> TerminationMessage | None:
    """Return the result of a run whose manifest is there already.

    Raises:
        UserError: UpgradeNeeded, a newer version wrote it; ArtifactInvalid, it is damaged.
    """
    body = read_or_none(folder, MANIFEST)
    if body is None:
        return None
    manifest = read_document(Manifest, body, where=f"{folder.uri}/{MANIFEST}", reader=TRAIN_IMAGE)
    return _result(manifest, body)


def upload_artifact(folder: Folder, results: Results) -> tuple[FileEntry, ...]:
    """Upload the files of all formats."""
    return tuple(
        entry
        for name in results.formats.values()
        for entry in upload_tree(folder, results.artifact / name, prefix=name)
    )


def publish(
    folder: Folder,
    config: RunConfig,
    results: Results,
    *,
    files: Sequence[FileEntry],
    records: Sequence[EmissionsRecord],
) -> TerminationMessage:
    """Upload evaluation, emissions and model card, then the manifest."""
    emissions = merge_records(records)
    evaluation = results.evaluation.model_dump_json(by_alias=True, indent=2).encode()
    lines = "".join(
        AttemptEmissions.of(record).model_dump_json(by_alias=True, exclude_none=True) + "\n"
        for record in records
    )
    made = Manifest(
        run=config.run,
        model_name=config.model_name,
        created_at=timestamp(datetime.now(UTC)),
        base_model=results.base_model,
        parent=config.parent,
        method=config.method,
        dataset=results.dataset,
        hyperparameters=results.hyperparameters,
        image=config.image,
        versions=library_versions(),
        validation=results.validation,
        evaluation=results.evaluation.scores,
        emissions=emissions,
        formats=results.formats,
        gguf=results.gguf,
        files=(),
    )
    beside = (
        folder.write(EVALUATION, evaluation),
        folder.write(EMISSIONS, lines.encode()),
        folder.write(MODEL_CARD, model_card(made).encode()),
    )
    named = tuple(sorted((*files, *beside), key=lambda entry: entry.path))
    manifest = made.model_copy(update={"files": named})
    body = manifest.model_dump_json(by_alias=True, indent=2).encode()
    folder.write(MANIFEST, body)
    return _result(manifest, body)


def library_versions() -> dict[str, str]:
    """Return the versions of what made the artifact."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _result(manifest: Manifest, body: bytes) -> TerminationMessage:
    scores = manifest.evaluation
    return TerminationMessage(
        reason="Succeeded",
        message=f"held-out {scores.summary}",
        manifest_sha256=hashlib.sha256(body).hexdigest(),
        evaluation=scores,
    )
