"""The serving engine of a ModelDeployment and its arguments."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from modelgarden.api.base import ApiModel, Rule

EXTRA_ARG_PATTERN = r"^--[a-z0-9][a-z0-9.-]*(=[^\n\r]*)?$"
RESERVED_ARGS = (
    "model", "served-model-name", "host", "port", "uds", "shutdown-timeout", "root-path", "api-key", "config", "headless",
    "grpc", "middleware", "api-server-count", "trust-remote-code", "ssl",
)  # fmt: skip
"""What the operator sets itself, or what would break its contract with the pod; `ssl` is all that begins so. A pod runs one
API server, whose requests are counted while it drains, and no code but its image's."""
TYPED_ARGS = {
    "max-model-len": "maxModelLen",
    "gpu-memory-utilization": "gpuMemoryUtilization",
    "max-num-seqs": "maxNumSeqs",
}
"""Arguments that have a field without a default. Where both are given it is not clear which one is meant."""

ExtraArg = Annotated[str, Field(pattern=EXTRA_ARG_PATTERN, max_length=1024)]


class EngineArgs(ApiModel):
    """vLLM's arguments that this API knows. Others go into extraArgs."""

    max_model_len: Annotated[int, Field(ge=16, le=10_485_760)] | None = Field(
        default=None, description="Longest sequence in tokens (--max-model-len). Default: the model's."
    )
    gpu_memory_utilization: Annotated[float, Field(ge=0.05, le=1.0)] | None = Field(
        default=None,
        description="Share of the GPU's memory for vLLM (--gpu-memory-utilization). Default: vLLM's, 0.92.",
    )
    max_num_seqs: Annotated[int, Field(ge=1, le=65536)] | None = Field(
        default=None, description="Most sequences in one batch (--max-num-seqs). Default: vLLM's."
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto", description="Type of weights and activations (--dtype). Default: auto, the model's."
    )
    enforce_eager: bool = Field(
        default=False,
        description="Skip compilation and CUDA graphs for a fast start (--enforce-eager). Default: false.",
    )


class Engine(ApiModel):
    """The serving engine, vLLM."""

    args: EngineArgs = Field(default=EngineArgs(), description="Arguments that this API knows.")
    extra_args: tuple[ExtraArg, ...] = Field(
        default=(),
        max_length=64,
        description="Further arguments of vllm serve, each as --name or --name=value. Default: none.",
    )


def _given_twice(name: str, field: str) -> str:
    return f"engine.extraArgs must not set --{name} beside engine.args.{field}; keep one of them"


RESERVED_ARGS_RULE = Rule(
    rule=f"!self.engine.extraArgs.exists(a, a.startsWith('--ssl') || {list(RESERVED_ARGS)}.exists(name, "
    "('--' + name).startsWith(a.find('^[a-z0-9-]+'))))",
    message=f"engine.extraArgs must not set what the operator sets: {', '.join(RESERVED_ARGS)}-*",
    field_path=".engine.extraArgs",
)
"""vLLM takes the beginning of a name for the name where only one begins so, and --name.key for a part of its value."""

TYPED_ARGS_RULES = tuple(
    Rule(
        rule=f"!has(self.engine.args.{field}) "
        f"|| !self.engine.extraArgs.exists(a, '--{name}'.startsWith(a.find('^[a-z0-9-]+')))",
        message=_given_twice(name, field),
        field_path=".engine.extraArgs",
    )
    for name, field in TYPED_ARGS.items()
)


def reserved_name(argument: str) -> str | None:
    """Return the name in an argument of vLLM that is, or may stand for, a reserved one."""
    name = re.split("[.=]", argument)[0]
    taken = name.startswith("--ssl") or any(f"--{one}".startswith(name) for one in RESERVED_ARGS)
    return name if taken else None


def given_twice(engine: Engine) -> str | None:
    """Return what is wrong where an argument is in a field and among the others too."""
    names = [re.split("[.=]", argument)[0] for argument in engine.extra_args]
    args = engine.args.to_dict()
    for name, field in TYPED_ARGS.items():
        if field in args and any(f"--{name}".startswith(one) for one in names):
            return _given_twice(name, field)
    return None
