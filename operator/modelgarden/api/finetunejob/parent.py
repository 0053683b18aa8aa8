"""What a run began with: a base model, and the earlier result that it trains on, where it does."""

from __future__ import annotations

from pydantic import Field

from modelgarden.api.base import ApiModel, ModelName, Sha256, StorageUri


class BaseModelRecord(ApiModel):
    """The base model as it was used."""

    source: str = Field(max_length=2048, description="Where it lay.")
    revision: str | None = Field(default=None, max_length=128, description="Commit of an hf:// model.")
    digest: Sha256 = Field(description="SHA-256 over the sorted names and SHA-256 of its files.")


class Parent(ApiModel):
    """The earlier result that is trained on, as it was found once and for all."""

    uri: StorageUri = Field(description="URI of its manifest.json.")
    manifest_sha256: Sha256 = Field(description="SHA-256 of that manifest.json.")
    model_name: ModelName = Field(description="Name in the registry.")
    version: int = Field(ge=1, description="Version in the registry.")
    job: str = Field(max_length=253, description="FineTuneJob that made it.")
    source: StorageUri = Field(description="Folder of its 16-bit merge, the base model of this run.")
    root: BaseModelRecord = Field(
        description="Base model that the chain of results began with: that of the first one."
    )
