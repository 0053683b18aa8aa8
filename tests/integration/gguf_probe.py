"""Exports a model with sure opinions as GGUF and looks at the files as llama.cpp's users do; prints what it found.

Runs in the trainer's environment: `python tests/integration/gguf_probe.py FOLDER`.
"""

from __future__ import annotations

import json
import os
import shutil
import site
import sys
from pathlib import Path
from typing import Any

import torch
from tiny_model import make_model  # type: ignore[import-not-found]  # beside this script
from transformers import AutoModelForCausalLM, AutoTokenizer

from modelgarden.api.artifact import RunIdentity
from modelgarden.api.pods import PodDataset, PodSource, RunConfig
from modelgarden_pod.errors import PodError
from modelgarden_train.artifact.differences import mean_difference
from modelgarden_train.artifact.gguf.engine import quantize, score
from modelgarden_train.artifact.gguf.export import Merged, require_convertible, row_to_score, write_gguf
from modelgarden_train.artifact.gguf.requests import Quantize, Score
from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.evaluation.inference import completion_losses

site.addsitedir(os.environ["MODELGARDEN_LLAMA_CPP"])

from llama_cpp import Llama

QUESTION = "Say the number after 5"


def make_config(folder: Path, **output: Any) -> RunConfig:
    """Return as much of a configuration as an export reads."""
    return RunConfig(
        run=RunIdentity(namespace="team", name="job", uid="uid"),
        run_uri=str(folder),
        model_source=str(folder),
        dataset=PodDataset(sources=(PodSource(uri="rows.jsonl"),)),
        model_name="count",
        formats=("GGUF",),
        **output,
    )


def make_opinionated(folder: Path) -> Any:
    """Write a random model whose next tokens are far from equally likely, so that other weights answer otherwise."""
    folder.mkdir()
    make_model(folder, hidden=256, sentencepiece=True)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.norm.weight.mul_(8)
    model.to(torch.bfloat16).save_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def make_rows(tokenizer: Any) -> list[PreparedRow]:
    """Return rows of two lengths, one of them longer than what passes through llama.cpp at once."""

    def row(question: str, answer: str) -> PreparedRow:
        asked = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        first = tokenizer.encode(prompt, add_special_tokens=False)
        ids = first + tokenizer.encode(f"{answer}<|end|>", add_special_tokens=False)
        return PreparedRow(input_ids=ids, spans=((len(first), len(ids)),), question=question, answer=answer)

    return [
        row(QUESTION, "6"),
        row("count " * 90, "answer é " * 20),
    ]


def spoilt(config: RunConfig, merged: Merged, target: Path, tokenizer: Any) -> str:
    """Return what is said where the file does not have the weights that the losses are of."""
    moved = [[loss + 1.5 for loss in row] for row in merged.losses]
    try:
        write_gguf(
            config, Merged(merged.folder, merged.base, merged.rows, moved), target, tokenizer=tokenizer
        )
    except PodError as error:
        return str(error)
    return ""


def refused(config: RunConfig, folder: Path) -> str:
    """Return what prepare says against a base model."""
    try:
        require_convertible(config, folder)
    except PodError as error:
        return str(error)
    return ""


def asked(file: Path) -> dict[str, Any]:
    """Return what a file says of itself, and to a question."""
    model = Llama(str(file), n_ctx=64, n_threads=1, verbose=False)
    answer = model.create_chat_completion(
        [{"role": "user", "content": QUESTION}], temperature=0, max_tokens=6, repeat_penalty=1
    )
    return {
        "name": model.metadata["general.name"],
        "template": model.metadata["tokenizer.chat_template"],
        "answer": answer["choices"][0]["message"]["content"],
    }


def main() -> None:
    """Make all files and print what was found."""
    folder = Path(sys.argv[1])
    base = folder / "base"
    model, tokenizer = make_opinionated(base), AutoTokenizer.from_pretrained(base)
    rows = make_rows(tokenizer)
    merged = Merged(base, base, rows, completion_losses(model, tokenizer, rows))

    made = {
        name: write_gguf(
            make_config(base, gguf={"quantization": name}), merged, folder / name, tokenizer=tokenizer
        )
        for name in ("F16", "Q4_K_M")
    }
    whole = folder / "F16" / made["F16"].file
    others = {}
    for name in ("Q5_K_M", "Q8_0"):
        file = folder / f"{name}.gguf"
        quantize(Quantize(source=whole, file=file, quantization=name, threads=1))
        found = score(Score(file=file, rows=tuple(row_to_score(row, tokenizer) for row in rows), threads=1))
        others[name] = {
            "difference": mean_difference(merged.losses, found.losses),
            "bytes": file.stat().st_size,
        }

    prompt = torch.tensor([rows[0].prompt_ids])
    generated = model.generate(prompt, do_sample=False, max_new_tokens=6)[0, prompt.shape[1] :]
    alone, unknown = folder / "alone", folder / "unknown"
    alone.mkdir()
    make_model(alone)
    shutil.copytree(base, unknown)
    settings = {"model_type": "gpt_neo", "architectures": ["GPTNeoForCausalLM"]}
    (unknown / "config.json").write_text(json.dumps(settings))
    config = make_config(base)
    found_all = {
        "made": {name: record.to_dict() for name, record in made.items()},
        "bytes": {name: (folder / name / record.file).stat().st_size for name, record in made.items()},
        "others": others,
        "spoilt": spoilt(make_config(base), merged, folder / "spoilt", tokenizer),
        "asked": asked(whole),
        "generated": tokenizer.decode(generated, skip_special_tokens=True),
        "template": tokenizer.chat_template,
        "refused": {name: refused(config, folder / name) for name in ("base", "alone", "unknown")},
    }
    sys.stdout.write(f"{json.dumps(found_all)}\n")


if __name__ == "__main__":
    main()
