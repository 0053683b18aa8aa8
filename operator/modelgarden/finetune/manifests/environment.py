"""The variables of the pods that prepare and train; what keeps any pod from GPUs that it did not ask for."""

from __future__ import annotations

from typing import Any, Final

from modelgarden.api import names
from modelgarden.finetune.manifests.run_config import run_config
from modelgarden.finetune.programs import PREPARE, TRAIN
from modelgarden.finetune.subject import Subject
from modelgarden.finetune.trackers import tracker_variables
from modelgarden.settings import Settings
from modelgarden.workloads import podspec
from modelgarden.workloads.endings import Program

WITHOUT_GPUS: Final[tuple[dict[str, str], ...]] = (
    # A node whose default runtime is NVIDIA's would show all its GPUs to a pod that asked for none.
    {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"},
    {"name": "CUDA_VISIBLE_DEVICES", "value": ""},
)
_WITH_GPUS: Final[tuple[dict[str, str], ...]] = ({"name": "UNSLOTH_DISABLE_CPU_FALLBACK", "value": "1"},)
_ON_CPUS: Final[tuple[dict[str, str], ...]] = (
    *WITHOUT_GPUS,
    {"name": names.WITHOUT_GPUS_VARIABLE, "value": "1"},
)
"""Of a training pod on a cluster of development: its processes know that they are to go without the GPUs of the spec."""


def run_environment(subject: Subject, settings: Settings, program: Program) -> list[dict[str, Any]]:
    """Return the variables of a prepare or a training pod: its configuration, credentials, tokens and devices."""
    token = subject.spec.model.token_secret_ref
    device = WITHOUT_GPUS
    if program == TRAIN and subject.spec.resources.gpus:
        device = _ON_CPUS if settings.without_gpus else _WITH_GPUS
    return [
        *podspec.environment(run_config(subject, settings, program)),
        *podspec.credentials(subject.spec.storage),
        *([podspec.secret_variable(token.name, names.HUB_TOKEN_KEY)] if token else []),
        *(_prepares_tokens(subject) if program == PREPARE else tracker_variables(subject.spec.trackers)),
        {"name": "HOME", "value": podspec.WORKSPACE},
        *device,
    ]


def _prepares_tokens(subject: Subject) -> list[dict[str, Any]]:
    """Return the variables with the hub tokens of the dataset's sources, and that of the hub that is published on."""
    hub = subject.spec.output.hub
    output = (
        podspec.secret_variable(
            hub.token_secret_ref.name, names.HUB_TOKEN_KEY, variable=names.OUTPUT_TOKEN_VARIABLE
        )
        if hub is not None
        else None
    )
    sources = [
        podspec.secret_variable(
            source.token_secret_ref.name, names.HUB_TOKEN_KEY, variable=names.source_token_variable(number)
        )
        for number, source in enumerate(subject.spec.dataset.all_sources)
        if source.token_secret_ref is not None
    ]
    return [*sources, *([output] if output is not None else [])]
