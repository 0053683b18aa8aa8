"""How a spec says to reach storage: services, and the secrets with their credentials."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from modelgarden.api.addresses import ENDPOINT_PATTERN, port_exists, require_port
from modelgarden.api.base import ApiModel, Rule
from modelgarden.api.gcs.key import CREDENTIALS_KEY

NAME_PATTERN = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
REGION_PATTERN = r"^[a-z0-9-]+$"

SECRET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
OPTIONAL_SECRET_KEYS = ("AWS_SESSION_TOKEN",)


class LocalReference(ApiModel):
    """A reference to an object in the same namespace."""

    name: Annotated[str, Field(pattern=NAME_PATTERN, min_length=1, max_length=253)] = Field(
        description="Name of the object."
    )


class GcsStorage(ApiModel):
    """How to reach GCS. Without credentials the pods' service account is used (workload identity)."""

    endpoint: Annotated[str, Field(pattern=ENDPOINT_PATTERN, max_length=256)] | None = Field(
        default=None,
        description="URL of another server that speaks GCS's JSON API; without credentials it is asked as anybody. "
        "Default: Google's.",
    )
    credentials_secret_ref: LocalReference | None = Field(
        default=None,
        description=f"Secret with the key {CREDENTIALS_KEY}, the JSON key of a service account. Default: the service "
        "account of the pods and of the operator.",
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (port_exists("endpoint"),)

    @model_validator(mode="after")
    def _port_exists(self) -> Self:
        require_port("endpoint", self.endpoint)
        return self


class Storage(ApiModel):
    """How to reach S3 and GCS. Without credentials the pods' service account is used (IRSA, workload identity)."""

    endpoint: Annotated[str, Field(pattern=ENDPOINT_PATTERN, max_length=256)] | None = Field(
        default=None, description="URL of the S3 service. Default: AWS."
    )
    region: Annotated[str, Field(pattern=REGION_PATTERN, max_length=64)] = Field(
        default="us-east-1", description="Region of the S3 service. Default: us-east-1."
    )
    credentials_secret_ref: LocalReference | None = Field(
        default=None,
        description="Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN if needed). "
        "Default: the service account of the pods and of the operator.",
    )

    gcs: GcsStorage | None = Field(
        default=None,
        description="How to reach GCS, for gs:// URIs. Default: Google's, by the service account.",
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (port_exists("endpoint"),)

    @model_validator(mode="after")
    def _port_exists(self) -> Self:
        require_port("endpoint", self.endpoint)
        return self

    @property
    def secrets(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the names of its secrets with the keys that each must have: that of S3, then that of GCS."""
        gcs = self.gcs.credentials_secret_ref if self.gcs else None
        given = ((self.credentials_secret_ref, SECRET_KEYS), (gcs, (CREDENTIALS_KEY,)))
        return tuple((one.name, keys) for one, keys in given if one is not None)
