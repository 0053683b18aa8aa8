"""How fast one GPU trains: our trainer as users start it, against bare Unsloth and TRL on the same rows.

    python bench/training.py --only ours-chat-64,unsloth-chat-16    run some cases, each in processes of its own
    python bench/training.py --only ours-long-64 --gpus 2 --label ours-2-gpus    the same on two GPUs
    python bench/training.py --only ours-chat-64 --method QLoRA --label ours-qlora    the same in 4 bits
    python bench/training.py --table                                print what has been measured so far

The model is a Llama of 8 B parameters with random weights, made on the GPU and kept in the folder of the benchmark. A
case is measured once it is warm: real tokens per second, padding left out, and the seconds from the start of the
process to the end of the first optimizer step. Results are appended to results.jsonl, so that a table can be filled in
several calls on one machine. Long rows have 2,030 tokens, chat rows about 170 in the mean.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):
    sys.path.insert(0, str(ROOT))

from bench.training_rivals import LORA_RANK, MEASURED_SECONDS, WARM_STEPS  # noqa: E402 -- the path comes first

RIVALS = Path(__file__).with_name("training_rivals.py")
SHIM = Path(__file__).with_name("varlen_shim")
ROWS = {"chat": 8_000, "long": 1_200}
PROMPT_SHARE = 0.25
"""Of a row's tokens; the loss is on the rest."""
PORT = 19400


@dataclass(frozen=True)
class Case:
    """One contestant on one kind of rows, with one effective batch size."""

    contestant: str
    rows: str
    batch: int
    method: str = "LoRA"
    """Of our trainer."""

    @classmethod
    def parse(cls, text: str, *, method: str = "LoRA") -> Case:
        """Read ours-chat-16."""
        contestant, rows, batch = text.rsplit("-", 2)
        return cls(contestant, rows, int(batch), method)

    def __str__(self) -> str:
        return f"{self.contestant}-{self.rows}-{self.batch}"


def lengths(rows: str, *, seed: int = 7) -> list[int]:
    """Return the tokens of the rows: all 2,030, or question and answer as in chats, lognormal each, 170 in the mean."""
    chance = random.Random(seed)  # noqa: S311 -- a benchmark
    if rows == "long":
        return [2030] * ROWS[rows]
    drawn = (
        1.31 * (chance.lognormvariate(3.4, 0.7) + chance.lognormvariate(4.1, 0.9)) for _ in range(ROWS[rows])
    )
    return [min(2030, max(24, round(one))) for one in drawn]


def write_dataset(rows: str, path: Path) -> None:
    """Write rows whose characters are their tokens: the model's tokenizer has one for each."""
    chance = random.Random(11)  # noqa: S311 -- a benchmark
    with path.open("w") as file:
        for number, length in enumerate(lengths(rows)):
            text = f"{number:06}" + "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=length - 10))
            asked = int(PROMPT_SHARE * len(text))
            file.write(json.dumps({"prompt": text[:asked], "completion": text[asked:]}) + "\n")


def environment(folder: Path, source: Path = ROOT) -> dict[str, str]:
    """Return the variables of every contestant; torch before 2.12 gets what the image's has, see varlen_shim."""
    parts = ("operator", "images/pod", "images/train")
    paths = [SHIM, *(source / part for part in parts), os.environ.get("PYTHONPATH")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(path) for path in paths if path),
        "HF_HUB_OFFLINE": "1",
        "UNSLOTH_DISABLE_STATISTICS": "1",
        "MODELGARDEN_WORKSPACE": str(folder / "workspace"),
        "MODELGARDEN_TERMINATION_LOG": str(folder / "termination"),
        "MODELGARDEN_ATTEMPT": "bench",
        "MODELGARDEN_LOG_FORMAT": "json",
    }


def run_config(case: Case, folder: Path, *, model: Path, dataset: Path) -> dict[str, Any]:
    """Return what a FineTuneJob would have our trainer do."""
    return {
        "run": {"namespace": "bench", "name": str(case), "uid": "1"},
        "runUri": (folder / "run").as_uri(),
        "modelSource": str(model),
        "datasetSource": dataset.as_uri(),
        "validationSplit": 0.01,
        "modelName": "bench",
        "method": case.method,
        "training": {
            "epochs": 50,
            "effectiveBatchSize": case.batch,
            "maxSequenceLength": 2048,
            "lora": {"rank": LORA_RANK, "alpha": LORA_RANK},
        },
        "formats": ["Adapter"],
        "checkpoint": {"everySteps": 100_000, "keep": 1},
        "evaluation": {"maxRows": 1, "maxNewTokens": 1},
        "gpus": 1,
    }


def prepared(case: Case, folder: Path, *, model: Path, source: Path = ROOT) -> dict[str, Any]:
    """Prepare the dataset as users do, once for each kind of rows and batch; return the configuration of the run."""
    kind = "".join([f"-{case.method}" * (case.method != "LoRA"), f"-{source.name}" * (source != ROOT)])
    base = folder.parent / f"prepared-{case.rows}-{case.batch}{kind}"
    dataset = base / "rows.jsonl"
    config = run_config(case, folder, model=model, dataset=dataset)
    if not (base / "done").exists():
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir(parents=True)
        write_dataset(case.rows, dataset)
        job = base / "job.json"
        job.write_text(json.dumps(config | {"runUri": (base / "run").as_uri()}))
        command = [sys.executable, "-m", "modelgarden_train", "prepare", "--config", str(job)]
        subprocess.run([*command, "--port", str(PORT)], env=environment(base, source), check=True, cwd=base)
        (base / "done").touch()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base / "run", folder / "run")
    return config


def ours(case: Case, folder: Path, *, model: Path, source: Path, gpus: int) -> dict[str, Any]:
    """Train with our trainer of a source tree and read what it tells Prometheus."""
    job = folder / "job.json"
    folder.mkdir(parents=True, exist_ok=True)
    config = prepared(case, folder, model=model, source=source) | {"gpus": gpus}
    job.write_text(json.dumps(config))
    command = [sys.executable, "-m", "modelgarden_train", "train", "--config", str(job), "--port", str(PORT)]
    began = time.monotonic()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environment(folder, source),
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        points = list(_points(process, began, warm=WARM_STEPS[case.batch]))
        told = json.loads(_get("/progress"))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (start, tokens), (end, more) = points[1], points[2]
    progress = told["progress"]
    used = {
        **told["resolvedHyperparameters"],
        "gpuMemoryMiB": progress.get("gpuMemoryMiB"),
        "step": progress["step"],
    }
    return {"tokens_per_second": (more - tokens) / (end - start), "first_step": points[0][0], "used": used}


def _points(process: subprocess.Popen[bytes], began: float, *, warm: int) -> Any:
    """Yield time and tokens after the first step, when warm, and at the end of the measured time."""
    wanted, last, warm_at = [1, warm], -1, 0.0
    while process.poll() is None:
        try:
            metrics = dict(line.split(" ") for line in _get("/metrics").splitlines() if line[:1] == "m")
        except OSError:
            time.sleep(0.05)
            continue
        step, now = int(float(metrics["modelgarden_train_step"])), time.monotonic() - began
        if step != last:
            last = step
            if wanted and step >= wanted[0]:
                wanted.pop(0)
                warm_at = now
                yield now, float(metrics["modelgarden_train_tokens_total"])
            elif not wanted and now - warm_at >= MEASURED_SECONDS:
                yield now, float(metrics["modelgarden_train_tokens_total"])
                return
        time.sleep(0.1)
    raise RuntimeError("the trainer ended before it was measured; its log says why")


def _get(path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=5) as answer:
        return str(answer.read().decode())


def rival(case: Case, folder: Path, *, model: Path) -> dict[str, Any]:
    """Train with a script as people write them."""
    prepared(case, folder, model=model)
    dataset = folder.parent / f"prepared-{case.rows}-{case.batch}" / "rows.jsonl"
    command = [sys.executable, RIVALS, case.contestant, str(case.batch), case.rows, model, dataset]
    began = time.time()
    with (folder / "log").open("wb") as log:
        done = subprocess.run(
            [*map(str, command), str(began)],
            env=environment(folder),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    if done.returncode:
        raise RuntimeError(f"{case} ended with {done.returncode}:\n{(folder / 'log').read_text()[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.decode().splitlines()[-1])
    return found


def make_model(folder: Path) -> Path:
    """Make the model once for all cases of a machine."""
    model = folder / "model"
    if not (model / "config.json").exists():
        subprocess.run(
            [sys.executable, str(RIVALS), "make-model", str(model)], env=environment(folder), check=True
        )
    return model


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table, ours beside each rival."""
    newest = {one["case"]: one for one in results if "tokens_per_second" in one}
    lines = [
        "| rows | effective batch | contestant | tokens/s | ours / it | first step, s |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in sorted(
        newest.items(), key=lambda pair: (Case.parse(pair[0]).rows, Case.parse(pair[0]).batch)
    ):
        case = Case.parse(name)
        own = newest.get(str(Case("ours", case.rows, case.batch)))
        ratio = f"{own['tokens_per_second'] / one['tokens_per_second']:.2f}" if own else ""
        lines.append(
            f"| {case.rows} | {case.batch} | {case.contestant} | {one['tokens_per_second']:,.0f} | {ratio} | "
            f"{one['first_step']:.0f} |"
        )
    cards = sorted({one["card"] for one in results})
    return "\n".join([", ".join(cards), "", *lines])


def card() -> str:
    """Return the GPU's name."""
    asked = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    return subprocess.check_output(asked, text=True).splitlines()[0]


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    scratch = Path(tempfile.gettempdir()) / "modelgarden-bench"
    parser.add_argument("--folder", type=Path, default=scratch, help="scratch, 20 GB. Default: %(default)s")
    parser.add_argument("--only", default="", help="cases, such as ours-chat-16,unsloth-default-chat-16")
    parser.add_argument(
        "--source", type=Path, default=ROOT, help="source tree of our trainer, to compare versions"
    )
    parser.add_argument("--label", default="ours", help="name of that trainer in the table. Default: ours")
    parser.add_argument("--gpus", type=int, default=1, help="GPUs of our trainer. Default: %(default)s")
    parser.add_argument(
        "--method", choices=["LoRA", "QLoRA"], default="LoRA", help="of our trainer. Default: %(default)s"
    )
    parser.add_argument("--table", action="store_true", help="print the results")
    options = parser.parse_args()
    if shutil.which("nvidia-smi") is None:
        print("skipped: needs an NVIDIA GPU, nvidia-smi is not there")
        return 0
    options.folder.mkdir(parents=True, exist_ok=True)
    results = options.folder / "results.jsonl"
    for name in filter(None, options.only.split(",")):
        case = Case.parse(name, method=options.method)
        folder = options.folder / f"{options.label}-{case}"
        model = make_model(options.folder)
        try:
            own = case.contestant == "ours"
            found = (
                ours(case, folder, model=model, source=options.source, gpus=options.gpus)
                if own
                else rival(case, folder, model=model)
            )
        except RuntimeError as error:
            found = {"error": str(error), "log": (folder / "log").read_text()[-3000:]}
        shown = str(Case(options.label if own else case.contestant, case.rows, case.batch))
        line = json.dumps({"case": shown, "card": card(), **found})
        print(line, flush=True)
        with results.open("a") as file:
            file.write(f"{line}\n")
    if options.table:
        print(table([json.loads(line) for line in results.read_text().splitlines()]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
