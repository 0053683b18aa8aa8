"""Where an artifact is published on a hub of models, and that it is there."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from modelgarden.api.access import LocalReference
from modelgarden.api.addresses import WEB_ADDRESS_PATTERN, port_exists, require_port
from modelgarden.api.base import ApiModel, Rule
from modelgarden.api.finetunejob.formats import USED_FORMAT, ArtifactFormat

_NAME: Final = r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
REPOSITORY_PATTERN: Final = rf"^{_NAME}/{_NAME}$"
"""huggingface_hub.utils.validate_repo_id, with a namespace."""
HUB_URL: Final = "https://huggingface.co"
_NO_REPOSITORY: Final = r"--|[.][.]|[.]git$"
_NO_SUCH_NAME: Final = "repository must have neither -- nor two dots in a row, and must not end with .git"


class Hub(ApiModel):
    """A repository of the Hugging Face hub that the artifact is published in, once it is registered."""

    repository: Annotated[str, Field(pattern=REPOSITORY_PATTERN, max_length=193)] = Field(
        description="Repository of the hub, org/name, which is made where it is missing. Each version is a commit on main."
    )
    private: bool = Field(
        default=True,
        description="Whether only those see it who may. A repository that is public already is refused while this is true; "
        "one that is private stays so. Default: true.",
    )
    format: ArtifactFormat = Field(
        default=USED_FORMAT,
        description="What is published, one of output.formats: its files and a model card. Default: Merged16Bit.",
    )
    token_secret_ref: LocalReference = Field(
        description="Secret with the key HF_TOKEN, a token that may write to the repository; the prepare pod asks the hub "
        "before a GPU is taken."
    )
    endpoint: Annotated[str, Field(pattern=WEB_ADDRESS_PATTERN, max_length=256)] | None = Field(
        default=None, description=f"URL of another server that speaks the hub's API. Default: {HUB_URL}."
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        port_exists("endpoint"),
        Rule(
            rule=f"!self.repository.matches('{_NO_REPOSITORY}')",
            message=_NO_SUCH_NAME,
            field_path=".repository",
        ),
    )

    @model_validator(mode="after")
    def _holds_its_rules(self) -> Self:
        require_port("endpoint", self.endpoint)
        if re.search(_NO_REPOSITORY, self.repository):
            raise ValueError(_NO_SUCH_NAME)
        return self

    @property
    def url(self) -> str:
        """The repository's page."""
        return f"{(self.endpoint or HUB_URL).rstrip('/')}/{self.repository}"


class HubStatus(ApiModel):
    """The artifact on the hub."""

    url: str = Field(max_length=512, description="Page of the repository.")
    commit: str | None = Field(
        default=None,
        max_length=64,
        description="Commit with this artifact; absent where its pod did not tell it.",
    )
