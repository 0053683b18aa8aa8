"""What lies in S3 beside the weights: the manifest, the evaluation, the records of the registry and of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from modelgarden.api.base import ApiModel, Decimal, ModelName, Sha256, Timestamp
from modelgarden.api.curve import Number
from modelgarden.api.documents import Document
from modelgarden.api.emissions import EmissionsRecord
from modelgarden.api.evaluation import EvaluationStatus, Score, with_metrics
from modelgarden.api.finetunejob import (
    Action,
    ArtifactFormat,
    BaseModelRecord,
    DatasetStatus,
    GgufQuantization,
    Method,
    Needs,
    Parent,
    ValidationStatus,
)


class RunIdentity(ApiModel):
    """The FineTuneJob that a run belongs to."""

    namespace: str
    name: str
    uid: str


class FileEntry(ApiModel):
    """One file of an artifact or a checkpoint."""

    path: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+=-]*(/[A-Za-z0-9_][A-Za-z0-9_.+=-]*)*$")]
    """Path below the run (manifest) or below the checkpoint's folder."""
    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class CheckpointRecord(Document):
    """`checkpoint.json`, written last: a checkpoint without it is not complete."""

    step: Annotated[int, Field(ge=0)]
    created_at: Timestamp
    attempt: str
    files: tuple[FileEntry, ...]


class BaseEvaluation(Document):
    """`base-evaluation.json` in a checkpoint's folder, so that the next attempt need not evaluate the base model."""

    scores: dict[str, Score]
    """By the name of the metric."""
    answers: tuple[str, ...]
    """One for each held-out row, in their order."""

    @classmethod
    def upgraded(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a score that is nothing but a value as one that may have more."""
        scores = value.get("scores")
        if not isinstance(scores, Mapping):
            return value
        named = {name: {"value": one} if isinstance(one, str) else one for name, one in scores.items()}
        return {**value, "scores": named}


class ValidationRecord(Document):
    """`validation.json` in a checkpoint's folder: what the validations up to it have found, for the next attempt.

    The weights of the best one, where they are wanted at the end, lie beside it as `best*.safetensors`.
    """

    step: Annotated[int, Field(ge=1)]
    loss: Number
    best_step: Annotated[int, Field(ge=1)]
    best_loss: Number
    without_improvement: Annotated[int, Field(ge=0)]
    """Validations in a row, the newest among them, that were none by minDelta."""


class SourceRecord(ApiModel):
    """A source of the dataset as it was read."""

    uri: str
    revision: str | None = None
    """Commit, of a dataset from the hub."""
    files: Annotated[int, Field(ge=0)]
    digest: Sha256
    """SHA-256 over the sorted names and SHA-256 of its files."""
    rows: int | None = None
    """Rows read, in reports from 2.1 on."""
    kept: int | None = None
    """Of these: rows of any split, before weights."""
    validation: bool = False
    """Whether its rows are given for validation, in reports from 2.3 on."""


class FindingRecord(ApiModel):
    """What was found in some rows and what became of them."""

    reason: str
    """One of those that the status counts by."""
    action: Action
    rows: Annotated[int, Field(ge=1)]
    places: tuple[str, ...]
    """File and line of the first hundred, and what it is in words."""


class LengthBin(ApiModel):
    """Rows whose length is in a range."""

    from_tokens: Annotated[int, Field(ge=0)]
    to_tokens: Annotated[int, Field(ge=0)]
    """Itself in the range."""
    rows: Annotated[int, Field(ge=0)]


class DatasetReport(Document):
    """`dataset/report.json`, written last by prepare.

    Of the second major version are the files' rows: token ids and what of them is learned, no longer rendered texts.
    """

    schema_version: str = Field(default="2.4")
    source: str
    """URIs of the sources, for people."""
    source_etag: str | None = None
    """Of the only file, in reports of earlier versions."""
    sources: tuple[SourceRecord, ...] = ()
    model_revision: str | None = None
    """Commit of an hf:// base model whose tokenizer rendered the rows; train takes the same."""
    model_listing: Sha256 | None = None
    """Digest over the listing of an s3:// base model's files at that time; train refuses another."""
    status: DatasetStatus
    longest_row_tokens: int
    findings: tuple[FindingRecord, ...] = ()
    """What rows were dropped and flagged for, in reports from 2.1 on, as the next one."""
    histogram: tuple[LengthBin, ...] = ()
    """Of the rows that are kept."""
    needs: Needs | None = None
    """What the training will take of a GPU, in reports from 2.2 on; of a model that can be estimated."""
    files: tuple[FileEntry, ...]
    shared_from: RunIdentity | None = None
    """The run whose prepare made the files, where this one had the same inputs; in reports from 2.4 on."""


class LengthCount(ApiModel):
    """How many rows have a length."""

    tokens: Annotated[int, Field(ge=1)]
    rows: Annotated[int, Field(ge=1)]


class SharedDataset(Document):
    """`prepared.json`, written last: what a run has prepared, for all runs with the same inputs and settings."""

    run: RunIdentity
    report: DatasetReport
    """Of that run; its files lie beside this one under the same names."""
    training_lengths: tuple[LengthCount, ...]
    """Of the training split, from which every run tells what its own training takes."""


class ListedSources(Document):
    """`listings/<pin>.json` beside what runs share: what a run has read of sources that are listed so."""

    sources: tuple[SourceRecord, ...]


class GgufRecord(ApiModel):
    """A GGUF file, and how it was held against the merged model that it was made of."""

    file: str
    """Path below the run."""
    quantization: GgufQuantization
    rows: Annotated[int, Field(ge=0)]
    """Held-out rows that llama.cpp scored."""
    mean_difference: Decimal
    """Of the log-probability of a reference token, in nats, without its sign."""
    largest_difference: Decimal
    """What was allowed."""
    rows_of_same_tokens: Annotated[int, Field(ge=0)]
    """Rows whose text llama.cpp's tokenizer splits as the model's own does."""


class Manifest(Document):
    """`manifest.json`, written last: the commit marker of a run."""

    schema_version: str = Field(default="1.3")
    run: RunIdentity
    model_name: ModelName
    created_at: Timestamp
    base_model: BaseModelRecord
    parent: Parent | None = None
    """The earlier result that the base model is, in manifests from 1.1 on."""
    method: Method
    dataset: DatasetReport
    hyperparameters: dict[str, str]
    image: str | None = None
    versions: dict[str, str]
    """Versions of the libraries that made the artifact."""
    validation: ValidationStatus | None = None
    """What the validations while training have found, in manifests from 1.2 on."""
    evaluation: EvaluationStatus
    emissions: EmissionsRecord
    formats: dict[ArtifactFormat, str]
    """Folder of each format, below the run."""
    gguf: GgufRecord | None = None
    """In manifests from 1.3 on."""
    files: tuple[FileEntry, ...]
    """All files of the artifact, evaluation.json, emissions.jsonl, curve.json and the model card."""

    @classmethod
    def upgraded(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the evaluation as a list of metrics."""
        return with_metrics(value, at="evaluation")

    @property
    def root(self) -> BaseModelRecord:
        """Return the base model that the chain of results up to this one began with."""
        return self.base_model if self.parent is None else self.parent.root


class GeneratedRow(ApiModel):
    """One held-out row with what base and tuned model generated for it."""

    prompt: str
    expected: str
    base: str
    tuned: str


class Evaluation(Document):
    """`evaluation.json`: the scores and every generated answer."""

    scores: EvaluationStatus
    rows: tuple[GeneratedRow, ...]

    @classmethod
    def upgraded(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the scores as a list of metrics."""
        return with_metrics(value, at="scores")


class VersionRecord(Document):
    """`versions/<n>.json` and `aliases/<alias>.json` of the registry."""

    version: Annotated[int, Field(ge=1)]
    model_name: ModelName
    run: RunIdentity
    manifest: str
    """URI of the manifest."""
    manifest_sha256: Sha256
    created_at: Timestamp
