"""The estimate of a training's GPU memory beside the peak that real runs measured.

    python bench/estimate.py    the runs that bench/training.py left in its folder
    python bench/estimate.py --run <run folder> --peak-mib 61234 --steps 300    any other run, with what its progress told

A run's `dataset/report.json` holds what prepare told of it (`needs`). A run that was measured for some steps only met the
largest of those, which its rows and their order tell. The GPU is this machine's, or --gpu-mib. The peak is what PyTorch
reserved; the driver's share of the memory is in neither.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyarrow import compute, parquet

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / part) for part in ("operator", "images/pod", "images/train")]

from modelgarden.api.artifact import DatasetReport  # noqa: E402 -- the path comes first
from modelgarden.api.documents import OPERATOR  # noqa: E402
from modelgarden.api.finetunejob import Training  # noqa: E402
from modelgarden.api.finetunejob.needs import ERROR  # noqa: E402
from modelgarden_train.objectives.order import shuffled  # noqa: E402

MIB = 2**20
SEED = Training().seed


@dataclass(frozen=True)
class Run:
    """A training that was measured."""

    name: str
    folder: Path
    """Its runUri."""
    peak_mib: int
    steps: int | None
    """That were done, None for all."""


def largest_step(folder: Path, *, steps: int, batch: int) -> int:
    """Return the tokens of the largest of so many steps of a run with the default seed."""
    rows = parquet.read_table(folder / "dataset/train.parquet", columns=["input_ids"]).column(0)
    lengths = compute.list_value_length(rows).to_pylist()
    per_epoch = -(-len(lengths) // batch)
    largest = 0
    for first in range(0, steps, per_epoch):
        order = shuffled(len(lengths), seed=SEED, epoch=first // per_epoch)
        begins = range(0, len(order), batch)[: steps - first]
        largest = max(largest, *(sum(lengths[row] for row in order[at : at + batch]) for at in begins))
    return largest


def measured(folder: Path) -> Iterator[Run]:
    """Yield the runs of our trainer among the results of bench/training.py, the newest of each case."""
    results = folder / "results.jsonl"
    found = [json.loads(line) for line in results.read_text().splitlines()]
    newest = {one["case"]: one for one in found if (one.get("used") or {}).get("gpuMemoryMiB")}
    for case, one in newest.items():
        label, rows, batch = case.rsplit("-", 2)
        yield Run(
            case,
            folder / f"{label}-ours-{rows}-{batch}" / "run",
            one["used"]["gpuMemoryMiB"],
            one["used"].get("step"),
        )


def line(run: Run, gpu_mib: int) -> tuple[str, bool]:
    """Return a row of the table, and whether the estimate is within its error."""
    report = DatasetReport.read((run.folder / "dataset/report.json").read_bytes(), reader=OPERATOR)
    if report.needs is None:
        raise SystemExit(f"{run.folder}: prepare told no needs; run it anew with this version")
    needs = report.needs
    if run.steps is not None:
        needs = needs.model_copy(
            update={"step_tokens": largest_step(run.folder, steps=run.steps, batch=needs.step_rows)}
        )
    found = needs.pass_on(gpu_mib * MIB) or needs.least()
    estimate = found.bytes / MIB
    off = estimate / run.peak_mib - 1
    checkpointing = ", checkpointing" if found.gradient_checkpointing else ""
    cells = (
        run.name,
        f"{found.tokens}{checkpointing}",
        f"{estimate:,.0f}",
        f"{run.peak_mib:,}",
        f"{off:+.1%}",
    )
    return f"| {' | '.join(cells)} |", abs(off) <= ERROR


def gpu_of_this_machine() -> int:
    """Return the MiB of the first GPU, as the nodes' label has them."""
    asked = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    return int(subprocess.check_output(asked, text=True).split()[0])


def main() -> int:
    """Run from the command line; 1 where an estimate is further off than it may be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    scratch = Path(tempfile.gettempdir()) / "modelgarden-bench"
    parser.add_argument(
        "--folder", type=Path, default=scratch, help="of bench/training.py. Default: %(default)s"
    )
    parser.add_argument("--run", type=Path, help="a run's folder, in place of those")
    parser.add_argument("--peak-mib", type=int, help="its peak")
    parser.add_argument("--steps", type=int, help="steps that it did. Default: all")
    parser.add_argument("--gpu-mib", type=int, help="memory of the GPU. Default: this machine's")
    given = parser.parse_args()
    if (given.run is None) != (given.peak_mib is None):
        parser.error("--run and --peak-mib go together")
    runs = (
        [Run(given.run.name, given.run, given.peak_mib, given.steps)]
        if given.run
        else list(measured(given.folder))
    )
    gpu_mib = given.gpu_mib or gpu_of_this_machine()
    print("| run | tokens of a pass | estimate, MiB | measured, MiB | off |\n|---|---|---|---|---|")
    lines = [line(run, gpu_mib) for run in runs]
    print("\n".join(text for text, _ in lines))
    return 0 if all(within for _, within in lines) else 1


if __name__ == "__main__":
    raise SystemExit(main())
