"""The main job, from a bare machine to a served answer: `python -m hack.demo run | clean`.

Can be run again at any point: what stands is kept, a job that is under way is followed, and a finished one is
replaced by a new run, whose artifact becomes the next version and rolls out over the old one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from functools import partial
from typing import Any

from rich.console import Console
from rich.markup import escape

from hack.demo import environment as environments
from hack.demo import install, report
from hack.demo.ask import ask
from hack.demo.bucket import Bucket
from hack.demo.environment import ROOT, Environment
from hack.demo.errors import DemoError
from hack.demo.follow import condition, wait_for_deployment, wait_for_job, wait_for_serving_carbon
from hack.demo.score import Database
from hack.demo.view import Step, View

NAME = "text-to-sql"
JOB_TIMEOUT_SECONDS = 2400
DEPLOYMENT_TIMEOUT_SECONDS = 900
CARBON_TIMEOUT_SECONDS = 120
ANSWER_TOKENS = 64
OUTPUT = ROOT / ".demo"

STEPS = (
    ("cluster", "Start the cluster and its S3 server"),
    ("images", "Build the images"),
    ("chart", "Install the chart"),
    ("baseModel", "Make the base model"),
    ("apply", "Apply FineTuneJob and ModelDeployment"),
    ("train", "Tune, evaluate and register"),
    ("serve", "Roll out vLLM"),
    ("ask", "Ask held-out questions"),
)


def run(console: Console) -> None:
    """Run the main job and write the report."""
    view = View(console, [Step(name, title) for name, title in STEPS])
    with view.live():
        with view.step("cluster"):
            environment = environments.prepare(view.say)
        with view.step("images"):
            environments.build_images(environment, view.say)
        with view.step("chart"):
            install.install_chart(environment, view.say)
        with view.step("baseModel"):
            install.create_namespace(environment)
            bucket = install.upload_dataset(environment)
            install.make_base_model(environment, bucket, view.say)
        with view.step("apply"):
            apply_example(environment)
        with view.step("train"):
            job = wait_for_job(
                environment, install.NAMESPACE, NAME, timeout=JOB_TIMEOUT_SECONDS, say=view.say
            )
        with view.step("serve"):
            deployment = wait_for_deployment(
                environment,
                install.NAMESPACE,
                NAME,
                artifact=job["status"]["artifact"]["uri"],
                timeout=DEPLOYMENT_TIMEOUT_SECONDS,
                say=view.say,
            )
        with view.step("ask"):
            answers = ask_and_score(environment, bucket, job, deployment, view)
            view.say("waiting for the energy of the answers in the status")
            tokens = sum(answer.served_tokens for answer in answers)
            deployment = wait_for_serving_carbon(
                environment, deployment, tokens=tokens, timeout=CARBON_TIMEOUT_SECONDS
            )
    result = report.build(answers, job, deployment, view.seconds())
    path = report.write(result, answers, OUTPUT)
    report.show(console, result, answers)
    console.print(f"\nThe same as JSON: {path.relative_to(ROOT)}")
    if environment.local:
        console.print("Look around: python3 hack/cluster kubectl -n quickstart get ftj,mdep", soft_wrap=True)


def apply_example(environment: Environment) -> None:
    """Apply examples/quickstart/ in one go; a finished job of an earlier run makes room for a new one."""
    found = environment.kubectl(
        "-n",
        install.NAMESPACE,
        "get",
        "finetunejobs.modelgarden.dev",
        NAME,
        "--ignore-not-found",
        "-o",
        "json",
    )
    if found.strip() and _finished(found):
        environment.kubectl("-n", install.NAMESPACE, "delete", "finetunejobs.modelgarden.dev", NAME)
    environment.kubectl("apply", "-f", "-", stdin=install.example(environment))


def ask_and_score(
    environment: Environment,
    bucket: Bucket,
    job: dict[str, Any],
    deployment: dict[str, Any],
    view: View,
) -> list[report.Answers]:
    """Ask the served model what base and tuned model were asked, and judge all three by the rows from SQLite.

    Raises:
        DemoError: the run has no evaluation.json.
    """
    run_key = (
        job["status"]["artifact"]["uri"].removeprefix(f"s3://{bucket.name}/").removesuffix("manifest.json")
    )
    rows = bucket.evaluation(f"{run_key}evaluation.json")
    model = deployment["status"]["servedModelName"]
    with environment.port_forward(install.NAMESPACE, f"service/{NAME}", 80) as url:
        served = ask(
            url,
            model,
            [row["prompt"] for row in rows],
            max_tokens=ANSWER_TOKENS,
            on_answer=lambda count: view.say(f"{count // 20 * 20} of {len(rows)} answers"),
        )
    database = Database((install.EXAMPLE / "schema.sql").read_text())
    return [
        report.Answers(
            prompt=row["prompt"],
            expected=row["expected"],
            base=row["base"],
            tuned=row["tuned"],
            served=answer.text,
            served_tokens=answer.tokens,
            base_right=database.is_right(row["base"], row["expected"]),
            tuned_right=database.is_right(row["tuned"], row["expected"]),
            served_right=database.is_right(answer.text, row["expected"]),
        )
        for row, answer in zip(rows, served, strict=True)
    ]


def clean(console: Console) -> None:
    """Remove what the demo made, and say what stays."""
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    if os.environ.get("CLUSTER") == "current":
        install.uninstall(environments.prepare(say), say)
    else:
        environments.tear_down(say)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    console.print("The demo is gone.")


def _finished(job_json: str) -> bool:
    job = json.loads(job_json)
    return any(condition(job, kind).get("status") == "True" for kind in ("Complete", "Failed"))


def main() -> int:
    """Parse the command and run it; an error that the reader can act on is shown without a traceback."""
    parser = argparse.ArgumentParser(prog="hack.demo", description=__doc__)
    parser.add_argument("command", choices=("run", "clean"))
    command = run if parser.parse_args().command == "run" else clean
    console = Console()
    try:
        command(console)
    except DemoError as error:
        console.print(f"\n[bold red]The demo stopped:[/bold red] {escape(str(error))}", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped. Run it again to go on.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
