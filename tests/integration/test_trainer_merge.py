"""The merge on the CPU, for QLoRA where the GPU holds 4 bits only: what is written answers like base and adapter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelgarden_train.artifact.export import mean_difference
from modelgarden_train.artifact.merge import MergeTask, merge_on_cpu
from modelgarden_train.data.prepared import PreparedRow
from tests.integration.trainer_process import TrainerProcess, trainer_python

TOOLS = Path(__file__).parent
MAKE_ADAPTER = """
import json, sys
import torch
from pathlib import Path
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from modelgarden_train.evaluation.inference import completion_losses
from modelgarden_train.data.prepared import PreparedRow

tools, base, adapter, rows, losses = sys.argv[1:]
sys.path.insert(0, tools)
from tiny_model import make_model
make_model(Path(base))
rows = [PreparedRow.from_record(row) for row in json.loads(rows)]
tokenizer = AutoTokenizer.from_pretrained(base)
torch.manual_seed(1)
model = AutoModelForCausalLM.from_pretrained(base)
before = completion_losses(model.eval(), tokenizer, rows)
# Random weights on both sides of the adapter, so that it changes the answers without any training.
config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", init_lora_weights=False)
model = get_peft_model(model, config)
model.save_pretrained(adapter)
Path(losses).write_text(json.dumps([before, completion_losses(model.eval(), tokenizer, rows)]))
"""


@pytest.fixture(scope="module")
def python() -> Path:
    return trainer_python()


@pytest.fixture(autouse=True)
def trainer_environment(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the process that merges run in the trainer's environment, as it does in the image."""
    process = TrainerProcess(python, tmp_path / "process", {}, attempt="merge")
    for name, value in process.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "executable", str(python))


def make_task(folder: Path) -> MergeTask:
    rows = tuple(
        PreparedRow(
            input_ids=list(range(10 + number, 34 + number)),
            spans=((20, 24),),
            question=str(number),
            answer=str(number + 1),
        )
        for number in range(8)
    )
    (folder / "adapter").mkdir()
    return MergeTask(
        base=folder / "tiny",
        adapter=folder / "adapter",
        target=folder / "merged",
        stop_tokens=(0,),
        chat_template=None,
        rows=rows,
    )


def test_a_merge_on_the_cpu_answers_like_base_and_adapter(python: Path, tmp_path: Path) -> None:
    task = make_task(tmp_path)
    rows = json.dumps(json.loads(task.to_json())["rows"])
    arguments = [str(TOOLS), str(task.base), str(task.adapter), rows, str(tmp_path / "losses")]
    subprocess.run([str(python), "-c", MAKE_ADAPTER, *arguments], check=True, capture_output=True)
    before, wanted = json.loads((tmp_path / "losses").read_text())

    found = merge_on_cpu(task)

    assert mean_difference(wanted, found) < 0.05
    assert mean_difference(before, found) > 0.1, "the adapter changes what the base says"
    assert json.loads((task.target / "config.json").read_text())["dtype"] == "bfloat16"
    stops = json.loads((task.target / "generation_config.json").read_text())["eos_token_id"]
    assert stops == [0, 4], "the base's own and the one that was given"
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja"} <= {
        path.name for path in task.target.iterdir()
    }
    assert [path.name for path in task.adapter.parent.iterdir() if path.name.startswith("tmp")] == []
