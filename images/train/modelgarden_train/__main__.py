"""Command line: `python -m modelgarden_train prepare|train|evaluate|publish [--config FILE]`.

Sets the environment of the libraries before the first of them is imported, so the commands are imported late.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modelgarden.api.names import PROGRESS_PORT
from modelgarden.api.pods import TerminationMessage
from modelgarden_pod.energy import attempt_id
from modelgarden_pod.logs import configure_logs
from modelgarden_pod.prctl import hide_from_others
from modelgarden_pod.process import end_process, run_command
from modelgarden_pod.retry import Patience
from modelgarden_train.attempt.run import load_config, open_run
from modelgarden_train.attempt.signals import StopRequest
from modelgarden_train.models.environment import prepare_environment, set_caches, workspace_folder

PREPARE_PATIENCE = Patience(total=60.0)
"""Short: nothing is lost with the pod, and only its end tells the FineTuneJob's reader what is away."""

_FAILURES = {"prepare": "PrepareFailed", "publish": "PublishFailed"}
"""Reasons of an end that has no better one; of every other command TrainingFailed."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code."""
    options = _parse(arguments)
    configure_logs()
    hide_from_others()  # a reward's code runs as the same user, and the credentials stand in the environment
    stop = StopRequest()

    def command() -> TerminationMessage:
        workspace = workspace_folder()
        if options.command == "publish":
            return _publish(options, workspace)
        config = load_config(options.config)
        asks_hub = options.command == "prepare" and config.hub is not None
        prepare_environment(config, workspace, online=asks_hub)
        if options.command == "train":
            from modelgarden_train.commands.train import train

            return train(config, workspace, stop=stop, port=options.port)
        patience = PREPARE_PATIENCE if options.command == "prepare" else None
        run = open_run(config, workspace=workspace, attempt=attempt_id(), patience=patience)
        if options.command == "prepare":
            from modelgarden_train.commands.prepare import prepare

            return prepare(run, port=options.port)
        from modelgarden_train.commands.evaluate import evaluate

        return evaluate(run, output=options.output)

    return run_command(command, failure_reason=_FAILURES.get(options.command, "TrainingFailed"))


def _publish(options: argparse.Namespace, workspace: Path) -> TerminationMessage:
    from modelgarden_train.commands.publish import load_publish_config, publish

    config = load_publish_config(options.config)
    set_caches(workspace)
    return publish(config, workspace, attempt=attempt_id(), port=options.port)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="modelgarden_train", description="Trainer of Model Garden.")
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "prepare": "check the dataset and write it as the model will see it (needs no GPU)",
        "train": "train, evaluate, export and publish; resumes at the newest checkpoint",
        "publish": "bring a registered artifact to a hub (needs no GPU)",
        "evaluate": "score base and tuned model of a finished run again",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "--config", type=Path, help="RunConfig, or PublishConfig, as JSON. Default: $MODELGARDEN_CONFIG"
        )
        if name != "evaluate":
            command.add_argument(
                "--port",
                type=int,
                default=PROGRESS_PORT,
                help="port of /progress. Default: %(default)s",
            )
        else:
            command.add_argument("--output", type=Path, help="file for the result. Default: standard output")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    end_process(main(sys.argv[1:]))
