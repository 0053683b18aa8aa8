"""The secrets of a job's trackers: what must be in them, and the variables that the training pod is given. Pure.

All variables are optional, so that a secret that goes later keeps no pod from its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelgarden.api.finetunejob import MLFLOW_KEYS, WANDB_KEY, Trackers
from modelgarden.registry.errors import Refused
from modelgarden.registry.secrets import required_value, value_of
from modelgarden.workloads import podspec


@dataclass(frozen=True)
class TrackerSecret:
    """A secret that a tracker names."""

    name: str
    keys: tuple[str, ...]
    """The variables of the pod are called as they are."""
    check: Callable[[Mapping[str, Any]], None]
    """Raises Refused (SecretInvalid) where the Secret object lacks what it must have."""


def tracker_secrets(trackers: Trackers) -> Iterator[TrackerSecret]:
    """Yield the secrets of the trackers."""
    if trackers.mlflow is not None and trackers.mlflow.secret_ref is not None:
        yield TrackerSecret(trackers.mlflow.secret_ref.name, MLFLOW_KEYS, require_mlflow)
    if trackers.wandb is not None and trackers.wandb.secret_ref is not None:
        yield TrackerSecret(trackers.wandb.secret_ref.name, (WANDB_KEY,), require_wandb)


def tracker_variables(trackers: Trackers) -> list[dict[str, Any]]:
    """Return the variables with what the secrets hold."""
    return [
        podspec.secret_variable(secret.name, key, optional=True)
        for secret in tracker_secrets(trackers)
        for key in secret.keys
    ]


def require_mlflow(secret: Mapping[str, Any]) -> None:
    """Check a secret for MLflow.

    Raises:
        Refused: it has neither a token nor name and password, or a value that cannot be sent (SecretInvalid).
    """
    token, username, password = (value_of(secret, key) for key in MLFLOW_KEYS)
    if not (token or (username and password)):
        name = secret.get("metadata", {}).get("name", "")
        raise Refused(
            "SecretInvalid",
            f"Secret {name!r} has neither {MLFLOW_KEYS[0]} nor both {MLFLOW_KEYS[1]} and {MLFLOW_KEYS[2]}; add the one or "
            "the others.",
        )


def require_wandb(secret: Mapping[str, Any]) -> None:
    """Check a secret for Weights & Biases.

    Raises:
        Refused: it has no key, or one that cannot be sent (SecretInvalid).
    """
    required_value(secret, WANDB_KEY)
