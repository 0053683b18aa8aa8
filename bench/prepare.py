"""How fast prepare is: the real command on Alpaca rows in a folder, beside the same steps with plain `datasets.map`.

    python bench/prepare.py --rows 200000        in the trainer's environment, see tests/integration/trainer_process.py

Both get two CPUs (affinity). Memory is the sum of what all processes of a contestant hold (PSS, asked every three seconds);
a contestant that holds more than 4 GiB is ended. The rows are drawn from a seed, 500 bytes
each; the tokenizer is a BPE of 32,000 tokens trained on them, so that nothing is downloaded. The same steps are: read
JSON, render prompt and answer with the chat template, tokenize both, leave out what is too long and duplicates, split,
write Parquet; row by row in one process, as the examples of the library do it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SEED = 12
VOCABULARY = 32_000
SENTENCES = 20_000
MEMORY_BYTES = 4 * 1024**3
LONGEST = 2048
ASK_SECONDS = 3.0
"""The kernel takes some 20 ms of a CPU to add up what a process holds."""
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
PLAIN = """
import hashlib, json, sys
from datasets import load_dataset
from transformers import AutoTokenizer

rows, model, target, longest = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
tokenizer = AutoTokenizer.from_pretrained(model)

def rendered(row):
    question = row["instruction"] + ("\\n\\n" + row["input"] if row["input"] else "")
    prompt = [{"role": "user", "content": question}]
    whole = [*prompt, {"role": "assistant", "content": row["output"]}]
    return {
        "prompt": tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True),
        "text": tokenizer.apply_chat_template(whole, tokenize=False),
        "digest": hashlib.sha256(json.dumps(whole).encode()).hexdigest(),
        "question": question,
        "answer": row["output"],
    }

def tokenized(row):
    ids = tokenizer(row["text"], add_special_tokens=False)["input_ids"]
    start = len(tokenizer(row["prompt"], add_special_tokens=False)["input_ids"])
    return {"input_ids": ids, "spans": [start, len(ids)]}

seen = set()

def is_new(row):
    if row["digest"] in seen:
        return False
    seen.add(row["digest"])
    return True

data = load_dataset("json", data_files=rows, split="train", cache_dir=target)
data = data.map(rendered, remove_columns=data.column_names).filter(is_new).map(tokenized)
data = data.filter(lambda row: len(row["input_ids"]) <= longest)
split = data.remove_columns(["prompt", "text", "digest"]).train_test_split(0.1, seed=0)
for name, part in split.items():
    part.to_parquet(f"{target}/{name}.parquet")
print(sum(len(part) for part in split.values()))
"""


@dataclass(frozen=True)
class Measured:
    """What one contestant took."""

    name: str
    seconds: float
    cpu_seconds: float
    """Of all its processes."""
    peak_bytes: int


def sentences(chance: random.Random) -> list[str]:
    """Return sentences of made-up words whose frequencies are those of a language (Zipf)."""
    parts = [
        "an",
        "be",
        "cor",
        "di",
        "el",
        "fra",
        "go",
        "hi",
        "in",
        "ka",
        "lo",
        "mer",
        "nu",
        "or",
        "pe",
        "st",
        "ti",
        "vo",
    ]
    words = list({"".join(chance.choices(parts, k=chance.randint(1, 4))) for _ in range(40_000)})
    words.sort()
    weights = [1 / (place + 5) for place in range(len(words))]
    return [" ".join(chance.choices(words, weights, k=12)).capitalize() + "." for _ in range(SENTENCES)]


def write_rows(path: Path, count: int) -> None:
    """Write Alpaca rows of about 500 bytes; a third has an input."""
    chance = random.Random(SEED)  # noqa: S311 -- a benchmark
    pool = sentences(chance)
    with path.open("w") as file:
        for number in range(count):
            drawn = chance.choices(pool, k=5)
            given = drawn[1] if number % 3 == 0 else ""
            row = {"instruction": f"{drawn[0]} ({number})", "input": given, "output": " ".join(drawn[2:])}
            file.write(json.dumps(row) + "\n")


def make_model(rows: Path, folder: Path) -> None:
    """Make what prepare takes of a model: its tokenizer and its configuration."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    with rows.open() as file:
        texts = [" ".join(json.loads(line).values()) for _, line in zip(range(50_000), file, strict=False)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    LlamaConfig(vocab_size=VOCABULARY).save_pretrained(folder)


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of both contestants."""
    paths = [ROOT / part for part in ("operator", "images/pod", "images/train")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "MODELGARDEN_WORKSPACE": str(folder / "workspace"),
        "MODELGARDEN_TERMINATION_LOG": str(folder / "termination"),
        "MODELGARDEN_ATTEMPT": "bench",
    }


def ours(folder: Path, rows: Path, model: Path) -> tuple[list[str], Path]:
    """Return the command of prepare, and its report."""
    config = {
        "run": {"namespace": "bench", "name": "prepare", "uid": "1"},
        "runUri": (folder / "run").as_uri(),
        "modelSource": str(model),
        "dataset": {"sources": [{"uri": rows.as_uri()}]},
        "modelName": "bench",
        "training": {"maxSequenceLength": LONGEST},
    }
    job = folder / "job.json"
    job.write_text(json.dumps(config))
    command = [sys.executable, "-m", "modelgarden_train", "prepare", "--config", str(job), "--port", "19401"]
    return command, folder / "run/dataset/report.json"


def measure(name: str, command: list[str], folder: Path) -> Measured:
    """Run a command to its end, alone on two CPUs."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, cpus)), *command],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(folder),
        )
        peak = 0
        while True:
            try:
                code = process.wait(ASK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                peak = max(peak, memory_of(process.pid))
                if peak > MEMORY_BYTES:
                    process.kill()
    seconds = time.monotonic() - began
    if code:
        raise SystemExit(f"{name} ended with {code}:\n{(folder / f'{name}.log').read_text()[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(name, seconds, cpu_seconds, peak)


def memory_of(pid: int) -> int:
    """Return what a process and all its descendants hold, in bytes; pages that they share count once."""
    total = 0
    for one in [pid, *descendants(pid)]:
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def descendants(pid: int) -> list[int]:
    """Return the processes below one."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in path.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def report(measured: Measured, rows: int) -> str:
    """Return a row of the table."""
    speed = rows / measured.seconds
    cells = (
        measured.name,
        f"{measured.seconds:.1f}",
        f"{measured.cpu_seconds:.1f}",
        f"{speed:,.0f}",
        f"{measured.peak_bytes / 2**20:,.0f} MiB",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure both and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["prepare", "datasets.map"])
    parser.add_argument(
        "--plain-rows", type=int, help="fewer rows for datasets.map, whose speed does not depend on them"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-prepare-") as name:
        folder = Path(name)
        rows, model = folder / "rows.jsonl", folder / "model"
        write_rows(rows, options.rows)
        make_model(rows, model)
        print(f"{options.rows:,} rows, {rows.stat().st_size / 1e6:.0f} MB", flush=True)
        print(
            "| contestant | seconds | CPU seconds | rows/s | peak memory |\n|---|---|---|---|---|", flush=True
        )
        if options.only != "datasets.map":
            command, written = ours(folder, rows, model)
            measured = measure("prepare", command, folder)
            print(report(measured, options.rows), flush=True)
            status: dict[str, Any] = json.loads(written.read_text())["status"]
            print(f"<!-- {status} -->", flush=True)
        if options.only != "prepare":
            plain, count = rows, options.plain_rows or options.rows
            if count < options.rows:
                plain = folder / "fewer.jsonl"
                write_rows(plain, count)
            script = folder / "plain.py"
            script.write_text(PLAIN)
            arguments = [str(plain), str(model), str(folder / "plain"), str(LONGEST)]
            measured = measure("datasets.map", [sys.executable, str(script), *arguments], folder)
            print(report(measured, count), flush=True)


if __name__ == "__main__":
    main()
