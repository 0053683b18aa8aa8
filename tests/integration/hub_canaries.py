"""A pod whose hub client fails with each of its errors in turn, for its log and termination messages to be searched.

`python hub_canaries.py` in the trainer's environment; HF_TOKEN is the canary. Prints the name of each error after it.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable

import httpx
import huggingface_hub
import huggingface_hub.errors

from modelgarden.api.pods import TerminationMessage
from modelgarden_pod.errors import PodError
from modelgarden_pod.logs import configure_logs
from modelgarden_pod.process import TERMINATION_LOG_VARIABLE, run_command
from modelgarden_pod.retry import Patience
from modelgarden_train.models.hub import download_snapshot

TOKEN = os.environ["HF_TOKEN"]
SAID = f"Illegal header value b'Bearer {TOKEN}\\n' of https://me:{TOKEN}@hub/?token={TOKEN}"


def errors() -> list[Exception]:
    """Return one error of each class of the hub's client and of its HTTP library."""
    modules = (huggingface_hub.errors, httpx)
    classes = {kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)}
    return [made(kind) for kind in sorted(classes, key=str) if issubclass(kind, Exception)]


def made(kind: type[Exception]) -> Exception:
    """Return an error that says the token, with an answer that says it too."""
    request = httpx.Request("GET", "https://hub/", headers={"Authorization": f"Bearer {TOKEN}"})
    error = kind.__new__(kind, SAID)
    Exception.__init__(error, SAID)
    answer = httpx.Response(403, headers={"X-Error-Message": SAID}, text=SAID, request=request)
    vars(error).update(response=answer, server_message=SAID, request_id=None, _request=request)
    error.__cause__ = ValueError(SAID)
    return error


def failing(error: Exception) -> Callable[[], TerminationMessage]:
    """Return a command that downloads a model, and fails with the error."""

    def fail(*_: object, **__: object) -> None:
        raise error

    def command() -> TerminationMessage:
        huggingface_hub.HfApi.model_info = fail
        download_snapshot("hf://garden/tiny", None, weights=False, patience=Patience(total=0))
        raise PodError("PrepareFailed", "it did not fail")

    return command


def main() -> None:
    """End a command with each error."""
    configure_logs()
    for error in errors():
        run_command(failing(error), failure_reason="PrepareFailed")
        with open(os.environ[TERMINATION_LOG_VARIABLE]) as left:
            print(type(error).__name__, left.read(), sep="\t", file=sys.stdout)


if __name__ == "__main__":
    main()
