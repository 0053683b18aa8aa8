"""What a model folder makes of a long row, by Unsloth as it trains and by Transformers alone; prints JSON.

Runs in the trainer's environment: `python rope_probe.py FOLDER`; on the GPU where there is one.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

# isort: off
import unsloth
import torch

# isort: on
from transformers import AutoModelForCausalLM


def likelihoods(model: Any, ids: list[int]) -> torch.Tensor:
    """Return the log-likelihood of each token after the first."""
    row = torch.tensor([ids], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=row, attention_mask=torch.ones_like(row)).logits
    return logits[0, :-1].float().log_softmax(-1).gather(1, row[0, 1:, None])[:, 0].cpu()


def main(folder: Path) -> None:
    """Compare them on a row over all positions, and with the same model before its positions were scaled."""
    settings = json.loads((folder / "config.json").read_text())
    positions = settings["max_position_embeddings"]
    ids = [random.Random(9).randrange(10, 60) for _ in range(positions)]
    dtype = torch.float32
    ours, _ = unsloth.FastLanguageModel.from_pretrained(
        str(folder), max_seq_length=positions, dtype=dtype, load_in_4bit=False, local_files_only=True
    )
    trained = likelihoods(ours, ids)
    del ours
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    plain = likelihoods(theirs.to("cuda" if torch.cuda.is_available() else "cpu"), ids)
    print(json.dumps({"positions": positions, "farthest": float((trained - plain).abs().max())}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
