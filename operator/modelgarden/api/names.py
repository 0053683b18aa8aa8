"""Names that more than one part must agree on: API group, labels, annotations, ports, variables, exit codes."""

from typing import Final

GROUP: Final = "modelgarden.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
CATEGORY: Final = "modelgarden"
MAX_NAME_LENGTH: Final = 40
"""Names of children and of their pods append to the resource's name, and a label takes 63 characters."""

FIELD_MANAGER: Final = "modelgarden-operator"
"""The one server-side-apply field manager of every write."""

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "modelgarden"
"""Children carry this label; the operator watches them by it on the server's side."""

FINETUNEJOB_LABEL: Final = f"{GROUP}/finetunejob"
"""Name of the FineTuneJob that owns a child."""
MODELDEPLOYMENT_LABEL: Final = f"{GROUP}/modeldeployment"
"""Name of the ModelDeployment that owns a child."""
STEP_LABEL: Final = f"{GROUP}/step"
"""`prepare`, `train` or `publish` on a FineTuneJob's children."""
REVISION_LABEL: Final = f"{GROUP}/revision"
"""Hash of what was declared of the serving pods, on a ModelDeployment's children."""
DESIRED_HASH_ANNOTATION: Final = f"{GROUP}/desired-hash"
"""Hash of the manifest that was applied, so that an unchanged child costs no write."""
INPUTS_HASH_ANNOTATION: Final = f"{GROUP}/inputs-hash"
"""Fingerprint of what a prepare or publish Job was started with, of its secrets too; a failed one runs again when it
changes."""
QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
"""Kueue's: of a Job that carries it, a queue decides when it runs."""
SUSPENDED_ANNOTATION: Final = f"{GROUP}/suspended"
"""On a Job whose `suspend` the operator itself set, so that it takes back its own and nobody else's."""

CONFIG_VARIABLE: Final = "MODELGARDEN_CONFIG"
"""Environment variable that carries a pod's RunConfig or ServeConfig as JSON."""
ATTEMPT_VARIABLE: Final = "MODELGARDEN_ATTEMPT"
"""Environment variable with the pod's UID: the identity of an attempt."""

COMPLETION_INDEX_VARIABLE: Final = "JOB_COMPLETION_INDEX"
"""Environment variable that the Job controller gives each pod of an Indexed Job: which of the nodes it is, from 0."""
WITHOUT_GPUS_VARIABLE: Final = "MODELGARDEN_WITHOUT_GPUS"
"""Environment variable that is 1 where the processes of several GPUs run without any, for development."""

HUB_TOKEN_KEY: Final = "HF_TOKEN"  # noqa: S105 -- the name of a key
"""Key of a secret with a token of the Hugging Face hub, and the variable with the base model's."""


OUTPUT_TOKEN_VARIABLE: Final = f"MODELGARDEN_OUTPUT_{HUB_TOKEN_KEY}"
"""Variable with the token of the hub that the artifact is published on."""


def source_token_variable(number: int) -> str:
    """Return the variable with the token of the dataset's source of this number."""
    return f"MODELGARDEN_SOURCE_{number}_{HUB_TOKEN_KEY}"


MOUNTED_SCHEMES: Final = ("pvc", "configmap")
"""Of the URIs of the dataset's sources that are volumes of the prepare pod."""
MOUNTED_SOURCES: Final = "/sources"
"""Folder of the prepare pod with these volumes: `pvc/<claim>` and `configmap/<name>`."""

PROGRESS_PORT: Final = 9400
"""Pods of both images serve /progress, or /carbon and /engine (JSON), /readyz and /metrics (Prometheus) on this port."""
GROUP_PORT: Final = 9401
"""The first pod of a training on several nodes hears the others on this port; their workers find free ones themselves."""
OPENAI_PORT: Final = 8000
"""vLLM's OpenAI API in the serving pod and on the Service."""

EXIT_DONE: Final = 0
EXIT_USER_ERROR: Final = 64
"""The user's input is wrong: never retried by the Job (EX_USAGE of sysexits.h)."""
EXIT_TEMPORARY: Final = 75
"""Storage or network is unavailable for now: retried, not counted (EX_TEMPFAIL of sysexits.h)."""
EXIT_TERMINATED: Final = 143
"""Stopped by SIGTERM after a checkpoint: retried, not counted (128 + SIGTERM)."""
