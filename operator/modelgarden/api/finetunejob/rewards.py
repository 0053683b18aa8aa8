"""What a completion is worth in a training by GRPO: rewards that are computed, each of a type with a block of its own."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from modelgarden.api.base import BUCKET_PATTERN, BUCKET_RULE, IN_A_BUCKET, ApiModel, Rule, on_a_value

RewardType = Literal["ExactMatch", "Regex", "JSONSchema", "SQL", "Length", "Python"]

REWARD_FILE_PATTERN: Final = rf"^{BUCKET_PATTERN}(/[A-Za-z0-9_=+-][A-Za-z0-9_.=+-]*)+$"
RewardFile = Annotated[
    str,
    Field(pattern=REWARD_FILE_PATTERN, max_length=1024, json_schema_extra=on_a_value(BUCKET_RULE)),
    IN_A_BUCKET,
]
FUNCTION_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"
_LIMITS: Final = "minTokens must not be more than maxTokens"
_NOTHING: Final = "length needs minTokens or maxTokens"


class RegexReward(ApiModel):
    """1 where a pattern is found in the completion, else 0."""

    pattern: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="Regular expression of Python, searched for anywhere in the completion; begin it with (?s) for a dot "
        "that is a line's end too, and use \\A and \\Z to match the whole."
    )


class JsonSchemaReward(ApiModel):
    """1 where the completion is JSON that fits a schema, else 0."""

    document: Annotated[str, Field(min_length=2, max_length=16_384)] = Field(
        description="JSON Schema (draft 2020-12) as a text of JSON. References to other documents are refused. A "
        "completion that is one fenced block of Markdown is read without the fence."
    )


class SqlReward(ApiModel):
    """1 where the completion, run as SQL and read without a fence, gives the rows that the row's answer gives, else 0."""

    database: RewardFile = Field(
        description="SQLite file, s3://bucket/path.sqlite or gs://bucket/path.sqlite, which is opened for reading only."
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=60)] = Field(
        default=5, description="Seconds after which a query is stopped, and a completion worth 0. Default: 5."
    )


class LengthReward(ApiModel):
    """1 where the completion has the wanted number of tokens, less the further it is from that, down to 0."""

    min_tokens: Annotated[int, Field(ge=1, le=131_072)] | None = Field(
        default=None, description="Fewest tokens that are worth 1. Default: any."
    )
    max_tokens: Annotated[int, Field(ge=1, le=131_072)] | None = Field(
        default=None, description="Most tokens that are worth 1. Default: any."
    )
    slack_tokens: Annotated[int, Field(ge=0, le=131_072)] = Field(
        default=0,
        description="Tokens beyond these within which the worth falls evenly from 1 to 0. Default: 0.",
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(rule="has(self.minTokens) || has(self.maxTokens)", message=_NOTHING),
        Rule(
            rule="!has(self.minTokens) || !has(self.maxTokens) || self.minTokens <= self.maxTokens",
            message=_LIMITS,
            field_path=".minTokens",
        ),
    )

    @model_validator(mode="after")
    def _has_limits(self) -> Self:
        if self.min_tokens is None and self.max_tokens is None:
            raise ValueError(_NOTHING)
        if self.min_tokens and self.max_tokens and self.min_tokens > self.max_tokens:
            raise ValueError(_LIMITS)
        return self


class PythonReward(ApiModel):
    """What a function of a Python file says, which is called once for all completions of a step."""

    source: RewardFile = Field(
        description="The file, s3://bucket/path.py or gs://bucket/path.py. It runs in a process of its own, without "
        "network, with the packages of the training image."
    )
    function: Annotated[str, Field(pattern=FUNCTION_PATTERN, max_length=63)] = Field(
        default="reward",
        description="Name of the function. It is called as those of TRL are: with prompts, completions, completion_ids and "
        "answer, each a list with one entry for each completion, and returns a list of as many numbers; None is for a "
        "completion that is not judged. It must take further keywords (**kwargs). Default: reward.",
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=60,
        description="Seconds that one call may take before the training fails. Default: 60.",
    )
    memory_mebibytes: Annotated[int, Field(ge=64, le=65_536)] = Field(
        default=1024,
        description="Address space of the process, in MiB, beyond which memory is refused. Default: 1024.",
    )


_BLOCKS: Final[dict[str, RewardType]] = {
    "regex": "Regex",
    "json_schema": "JSONSchema",
    "sql": "SQL",
    "length": "Length",
    "python": "Python",
}
"""The type that a block has the settings of; each but ExactMatch needs its own."""
_WIRE: Final = {"json_schema": "jsonSchema"}


def _block_rule(block: str) -> str:
    name, kind = _WIRE.get(block, block), _BLOCKS[block]
    return f"{name} holds the settings of type {kind}, which needs them: set both or neither"


class Reward(ApiModel):
    """One reward."""

    type: RewardType = Field(
        description="ExactMatch: 1 where the completion is the row's answer, space around it aside. Regex: 1 where a "
        "pattern is found. JSONSchema: 1 for JSON that fits a schema. SQL: 1 for a query that gives what the row's answer, "
        "which is a query too, gives. Length: 1 for the wanted number of tokens. Python: what a function says. All but "
        "Python are from 0 to 1."
    )
    weight: Annotated[float, Field(ge=-100, le=100)] = Field(
        default=1.0,
        description="What the reward is multiplied by before all are added; less than 0 makes it a penalty. Default: 1.",
    )
    regex: RegexReward | None = Field(default=None, description="Settings of type Regex.")
    json_schema: JsonSchemaReward | None = Field(default=None, description="Settings of type JSONSchema.")
    sql: SqlReward | None = Field(default=None, description="Settings of type SQL.")
    length: LengthReward | None = Field(default=None, description="Settings of type Length.")
    python: PythonReward | None = Field(default=None, description="Settings of type Python.")

    cel_rules: ClassVar[tuple[Rule, ...]] = tuple(
        Rule(
            rule=f"(self.type == '{kind}') == has(self.{_WIRE.get(block, block)})",
            message=_block_rule(block),
            field_path=f".{_WIRE.get(block, block)}",
        )
        for block, kind in _BLOCKS.items()
    )

    @model_validator(mode="after")
    def _has_its_block(self) -> Self:
        for block, kind in _BLOCKS.items():
            if (self.type == kind) != (getattr(self, block) is not None):
                raise ValueError(_block_rule(block))
        return self

    @property
    def file(self) -> str | None:
        """URI of the file that it needs, None for one that needs none."""
        if self.sql:
            return self.sql.database
        return self.python.source if self.python else None
