"""What the operator and its pods tell each other: configuration in, report and termination message out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field

from modelgarden.api.access import Storage
from modelgarden.api.artifact import RunIdentity
from modelgarden.api.base import ApiModel, ModelName, Sha256
from modelgarden.api.documents import Configuration, Document
from modelgarden.api.emissions import EmissionsRecord
from modelgarden.api.evaluation import EvaluationStatus, with_metrics
from modelgarden.api.finetunejob import (
    DEFAULT_LEARNING_RATES,
    STALL_TIMEOUT_SECONDS,
    ArtifactFormat,
    Checkpoint,
    Dataset,
    DatasetSource,
    DatasetStatus,
    Evaluation,
    Gguf,
    GgufQuantization,
    Hub,
    HubStatus,
    Method,
    Needs,
    Objective,
    Parent,
    Preparation,
    Progress,
    Trackers,
    TrackerStatuses,
    Training,
    ValidationStatus,
    Vision,
)
from modelgarden.api.messages import Message
from modelgarden.api.names import GROUP_PORT

GROUP_PATIENCE_SECONDS = 900
"""Many times what a node takes to pull the image; after it the GPUs of the pods that run are better given back."""
TERMINATION_MESSAGE_BYTES = 4096
"""What the kubelet keeps of a termination message."""
_CUT_BYTES = 64
"""Cut off a message that is too long beside what is too much, for the mark of the cut."""


class PodStorage(ApiModel):
    """How to reach S3 and GCS; credentials come from the environment (AWS_*, GOOGLE_CREDENTIALS)."""

    endpoint: str | None = None
    region: str = "us-east-1"
    gcs_endpoint: str | None = None

    @classmethod
    def of(cls, storage: Storage) -> Self:
        """Return what a spec says, but for credentials."""
        gcs = storage.gcs.endpoint if storage.gcs else None
        return cls(endpoint=storage.endpoint, region=storage.region, gcs_endpoint=gcs)


class PodCarbon(ApiModel):
    """What emissions are computed with."""

    zone: str | None = None
    pue_milli: Annotated[int, Field(ge=1000, le=5000)] = 1000
    pue_given: bool = False


class PodSource(DatasetSource):
    """A source of the dataset; without Kubernetes it may lie on this machine (file:///... or a plain path)."""

    uri: str


class PodDataset(Preparation):
    """The dataset, its sources in one form."""

    sources: tuple[PodSource, ...]
    validation_sources: tuple[PodSource, ...] | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Return what a spec asks for."""
        shared = dataset.model_dump(include=set(Preparation.model_fields))
        shared["validation_split"] = dataset.validation_share or None
        sources = tuple(PodSource(**source.model_dump()) for source in dataset.training_sources)
        return cls(**shared, sources=sources)

    @property
    def all_sources(self) -> tuple[PodSource, ...]:
        """The sources of all rows: those to train on, then those of validation."""
        return (*self.sources, *(self.validation_sources or ()))


class PodGroup(ApiModel):
    """The pods of a training on several nodes. Each knows which one it is by its index in the Job."""

    nodes: Annotated[int, Field(ge=2)]
    host: str
    """Of the first pod; what comes before its first dot, without the index, begins the names of all pods."""
    port: Annotated[int, Field(ge=1, le=65535)] = GROUP_PORT
    """Where it hears the others."""
    patience_seconds: Annotated[int, Field(ge=1)] = GROUP_PATIENCE_SECONDS
    """How long those that run wait for those that do not."""

    def pod(self, node: int) -> str:
        """Return what the name of a node's pod begins with."""
        job, _, _ = self.host.partition(".")[0].rpartition("-")
        return f"{job}-{node}" if job else f"node {node}"


class RunConfig(Configuration):
    """Configuration of `prepare` and `train`. Locations are s3:// or gs:// or, without Kubernetes, local paths.

    Of the first major version is one with a single source, in fields of its own. Of the third is one with validation
    sources, instead of which an older trainer would split rows off. Of the fourth is one with hyperparameters that it
    would overlook. Of the fifth is one with a gs:// location, which it would take for a local path. Of the sixth is one with
    objective GRPO, whose rows it would learn as those of SFT. Of the seventh is one with modality Vision, of whose rows it
    would learn the text alone, one that is published on a hub, whose token it would not ask for its rights, and one with
    several nodes, each of which would train alone.
    """

    schema_version: str = Field(default="7.0")
    run: RunIdentity
    run_uri: str
    model_source: str
    model_revision: str | None = None
    parent: Parent | None = None
    """The earlier result that the base model is, for the manifest; from 2.1 and 3.1 on."""
    method: Method = "LoRA"
    vision: Vision | None = None
    """How images go into the model; None where rows are text alone. From 7.0 on."""
    objective: Objective = Objective()
    """From 2.3, 3.3 and 4.1 on; an older trainer learns nothing else than SFT and refuses rows of any other kind."""
    dataset: PodDataset
    allowed_hosts: tuple[str, ...] = ()
    """That https:// sources may come from."""
    dry_run: bool = False
    """Rows that this version cannot train on are checked all the same."""
    training: Training = Training()
    formats: tuple[ArtifactFormat, ...] = ("Merged16Bit",)
    gguf: Gguf | None = None
    """From 2.9, 3.9, 4.7 and 5.4 on, as the format GGUF, which an older trainer refuses."""
    model_name: ModelName
    hub: Hub | None = None
    """Where the artifact will be published, for prepare to ask whether it may."""
    checkpoint: Checkpoint = Checkpoint()
    evaluation: Evaluation = Evaluation()
    storage: PodStorage = PodStorage()
    datasets_uri: str | None = None
    """Where runs share what they have prepared; None where this one does not."""
    carbon: PodCarbon = PodCarbon()
    trackers: Trackers | None = None
    """None where nothing follows the training; from 2.2 and 3.2 on, each tracker from a minor version of its own."""
    stall_timeout_seconds: Annotated[int, Field(ge=1)] = STALL_TIMEOUT_SECONDS
    """How long a worker that trains may be silent; from 2.8, 3.8, 4.6 and 5.3 on, an earlier trainer waits for ever."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs that the pod was given; with at least one, a pod without CUDA fails at once instead of training on the CPU."""
    group: PodGroup | None = None
    """None for a training on one node."""
    image: str | None = None

    @property
    def nodes(self) -> int:
        """How many pods train together."""
        return self.group.nodes if self.group is not None else 1

    @property
    def gguf_quantization(self) -> GgufQuantization:
        """The type of a GGUF file's weights."""
        return (self.gguf or Gguf()).quantization

    @property
    def learning_rate(self) -> float:
        """The peak learning rate, which each objective has a default for."""
        return self.training.learning_rate or DEFAULT_LEARNING_RATES[self.objective.type]

    @classmethod
    def upgraded(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the dataset of fields of its own as one with sources."""
        if "dataset" in value or "datasetSource" not in value:
            return value
        source = {"uri": value["datasetSource"], "format": value.get("datasetFormat")}
        dataset = {"sources": [source], "validationSplit": value.get("validationSplit")}
        former = ("datasetSource", "datasetFormat", "validationSplit")
        return {**{name: item for name, item in value.items() if name not in former}, "dataset": dataset}


class PublishConfig(Configuration):
    """Configuration of `publish`: what is registered, and the hub that it goes to."""

    run: RunIdentity
    run_uri: str
    model_name: ModelName
    version: Annotated[int, Field(ge=1)]
    """In the registry."""
    manifest_sha256: Sha256
    """That was registered."""
    hub: Hub
    storage: PodStorage = PodStorage()
    emissions: EmissionsRecord | None = None
    """Of all attempts, as the operator knows them at the end; where None, the manifest's."""


class ServeConfig(Configuration):
    """Configuration of `fetch` and `serve`. Of the second major version is one with a gs:// model."""

    schema_version: str = Field(default="2.0")
    model_uri: str
    """Manifest (…/manifest.json) or model folder; s3://, gs:// or, without Kubernetes, a local path."""
    manifest_sha256: Sha256 | None = None
    """Given for a manifest, which is then held against it."""
    listing_sha256: Sha256 | None = None
    """Given for a folder, whose listing (layout.listing_digest) is then held against it."""
    served_model_name: ModelName
    model_dir: str
    """Local folder that fetch fills and serve reads."""
    engine_args: tuple[str, ...] = ()
    """Arguments of `vllm serve` beside those that serve sets itself."""
    drain_seconds: Annotated[int, Field(ge=0)] = 60
    gpus: Annotated[int, Field(ge=0)] = 0
    storage: PodStorage = PodStorage()
    carbon: PodCarbon = PodCarbon()


class TrainReport(Document):
    """Body of GET /progress of a pod that prepares, trains or publishes."""

    schema_version: str = Field(default="1.2")
    attempt: str
    progress: Progress
    resolved_hyperparameters: dict[str, str] = Field(default_factory=dict)
    model_revision: str | None = None
    emissions: EmissionsRecord | None = None
    """Over all attempts of the run so far."""
    outage: Message | None = None
    """What storage or hub last failed with, while the pod waits for it to answer again."""
    trackers: TrackerStatuses = ()
    """Of this attempt, in reports from 1.1 on."""
    validation: ValidationStatus | None = None
    """What the validations so far have found, in reports from 1.2 on."""


class ServeReport(Document):
    """Body of GET /carbon of a serving pod: counters since the pod's start."""

    attempt: str
    emissions: EmissionsRecord
    idle_joules: int
    generated_tokens: int
    prompt_tokens: int


class EngineReport(Document):
    """Body of GET /engine of a serving pod: what vLLM serves, asked while the pod is not ready."""

    attempt: str
    awaited: ModelName
    named: tuple[Message, ...] | None = None
    """What /v1/models names, its first few; None while vLLM does not answer."""


class TerminationMessage(Document):
    """What a pod leaves at its end: a reason from the closed list and what it says, or its short result."""

    schema_version: str = Field(default="1.3")
    reason: str
    message: Message
    dataset: DatasetStatus | None = None
    """prepare: what it found."""
    needs: Needs | None = None
    """prepare: what the training will take of a GPU."""
    manifest_sha256: Sha256 | None = None
    """train: the commit marker that it wrote."""
    evaluation: EvaluationStatus | None = None
    trackers: TrackerStatuses = ()
    """train: how they stood at the end, in messages from 1.2 on."""
    hub: HubStatus | None = None
    """publish: where the artifact is, in messages from 1.3 on."""

    @classmethod
    def upgraded(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the evaluation as a list of metrics."""
        return with_metrics(value, at="evaluation")

    def encode(self) -> str:
        """Return the JSON text, shortened to what the kubelet keeps: the message, then what lies in storage too."""
        text = self.model_dump_json(by_alias=True, exclude_none=True)
        said, room = self.message.encode(), TERMINATION_MESSAGE_BYTES - len(text.encode())
        if room >= 0:
            return text
        kept = len(said) + room - _CUT_BYTES
        if kept < 0 and self.trackers:
            return self.model_copy(update={"trackers": ()}).encode()
        if kept < 0 and (self.evaluation is not None or self.dataset is not None):
            spared = ("evaluation",) if self.evaluation is not None else ("dataset", "needs")
            return self.model_copy(update=dict.fromkeys(spared)).encode()
        shortened = f"{said[: max(0, kept)].decode(errors='ignore')} ..."
        return self.model_copy(update={"message": shortened}).model_dump_json(
            by_alias=True, exclude_none=True
        )
