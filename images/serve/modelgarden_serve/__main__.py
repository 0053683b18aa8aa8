"""Command line: `python -m modelgarden_serve fetch|serve [--config FILE]`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from modelgarden.api.documents import SERVE_IMAGE
from modelgarden.api.names import PROGRESS_PORT
from modelgarden.api.pods import ServeConfig, TerminationMessage
from modelgarden_pod.config import read_config
from modelgarden_pod.energy import attempt_id
from modelgarden_pod.errors import Terminated
from modelgarden_pod.logs import configure_logs
from modelgarden_pod.process import end_process, run_command

WORKSPACE_VARIABLE = "MODELGARDEN_WORKSPACE"
"""Folder for caches and the energy figures. Default: /workspace."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code."""
    options = _parse(arguments)
    configure_logs()
    # The first process of a container gets no signal that it has no handler for.
    signal.signal(signal.SIGTERM, _terminate)

    def command() -> TerminationMessage:
        config = read_config(ServeConfig, options.config, reader=SERVE_IMAGE)
        if options.command == "fetch":
            from modelgarden_serve.fetch import fetch

            return fetch(config)
        from modelgarden_serve.supervise import serve

        workspace = Path(os.environ.get(WORKSPACE_VARIABLE, "/workspace"))
        return serve(config, workspace=workspace, port=options.port, attempt=attempt_id())

    return run_command(command, failure_reason="PodsFailing")


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated("stopped by SIGTERM")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="modelgarden_serve", description="Server of Model Garden.")
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "fetch": "bring the model to the local disk, verified; goes on where it was cut off",
        "serve": "run vLLM on it, meter its energy, drain on SIGTERM",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--config", type=Path, help="ServeConfig as JSON. Default: $MODELGARDEN_CONFIG")
        if name == "serve":
            command.add_argument(
                "--port",
                type=int,
                default=PROGRESS_PORT,
                help="port of /readyz and /carbon. Default: %(default)s",
            )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    end_process(main(sys.argv[1:]))
