"""Settings of the operator, from environment variables with the prefix MODELGARDEN_.

Read once in `__main__` and passed down; nothing else reads the environment.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _identity() -> str:
    return f"{socket.gethostname()}_{os.getpid()}"


class Settings(BaseSettings):
    """What the chart sets."""

    model_config = SettingsConfigDict(env_prefix="MODELGARDEN_", frozen=True, extra="forbid")

    train_image: str = Field(min_length=1, description="Image of the prepare and train pods.")
    serve_image: str = Field(min_length=1, description="Image of the serving pods.")
    without_gpus: bool = Field(
        default=False,
        description="For development on a cluster without GPUs: training pods ask for none and compute on the CPU, with as "
        "many processes as they would have GPUs.",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="Pull policy of both images."
    )
    cluster_domain: str = Field(default="cluster.local", description="DNS domain of the cluster's Services.")
    watch_namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Namespaces to serve, separated by commas. Empty: all."
    )

    dataset_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Hosts that https:// datasets may come from, separated by commas: data.example.org, *.example.org. "
        "Empty: none.",
    )

    default_zone: str | None = Field(
        default=None, description="Electricity zone of resources that name none, ISO 3166-1 alpha-3."
    )
    default_pue: float = Field(
        default=1.0, ge=1.0, le=5.0, description="Power usage effectiveness where none is given."
    )

    gpu_prices: Annotated[Mapping[str, Annotated[Decimal, Field(ge=0)]], NoDecode] = Field(
        default_factory=dict,
        description="Price of a GPU's hour by its product, as the nodes' label nvidia.com/gpu.product has it, separated by "
        "commas: NVIDIA-L4=0.80. Empty: no cost is told.",
    )
    currency: str = Field(
        default="USD", pattern=r"^[A-Z]{3}$", description="Currency of the prices, ISO 4217."
    )

    workers: int = Field(default=16, ge=1, le=256, description="Reconciles that run at the same time.")
    resync_seconds: float = Field(
        default=300, gt=0, description="Seconds between listings that repair what the watches missed."
    )
    stuck_seconds: float = Field(
        default=300,
        gt=0,
        description="Seconds that a key may wait for a worker before the health check fails.",
    )
    progress_interval_seconds: float = Field(
        default=10, gt=0, description="Least seconds between two progress writes of one resource."
    )
    storage_threads: int = Field(default=8, ge=1, le=64, description="S3 requests at the same time.")

    leader_election: bool = Field(
        default=True, description="Hold a Lease, so that one replica works at a time."
    )
    lease_name: str = Field(default="modelgarden-operator", description="Name of the Lease.")
    lease_namespace: str = Field(default="modelgarden-system", description="Namespace of the Lease.")
    lease_identity: str = Field(default_factory=_identity, description="Holder that this process writes.")

    health_port: int = Field(default=8081, ge=0, le=65535, description="Port of /healthz and /readyz.")
    metrics_port: int = Field(default=8080, ge=0, le=65535, description="Port of /metrics.")
    log_format: Literal["json", "text"] = Field(default="json", description="Format of the log lines.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least level that is logged."
    )

    @field_validator("watch_namespaces", "dataset_allowed_hosts", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("gpu_prices", mode="before")
    @classmethod
    def _split_prices(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [pair.strip().partition("=") for pair in value.split(",") if pair.strip()]
        return {product.strip(): price.strip() for product, _, price in pairs}

    @field_validator("default_zone", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return value or None
