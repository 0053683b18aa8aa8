"""Loads a merged vision model and, from the base and its adapter, the same again, as others do who have never seen this
trainer; prints the log-probabilities that each gives to answers about an image.

Runs in the trainer's environment with the path of a JSON file: base, merged, adapter, images, question, answers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer


def log_probabilities(model: Any, folder: str, asked: dict[str, Any]) -> list[list[float]]:
    """Return the log-probability of each answer's first token, by image."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder)
    mark = model.config.image_token_id
    found = []
    for path in asked["images"]:
        seen = processor(images=[Image.open(path)], return_tensors="pt")
        content = [{"type": "image"}, {"type": "text", "text": asked["question"]}]
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        tokens = int(seen["image_grid_thw"].prod()) // processor.merge_size**2
        text = text.replace("<|image_pad|>", "<|image_pad|>" * tokens)
        ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
        with torch.inference_mode():
            logits = model(input_ids=ids, mm_token_type_ids=(ids == mark).long(), **seen).logits[0, -1]
        told = logits.float().log_softmax(-1)
        firsts = [tokenizer(answer, add_special_tokens=False)["input_ids"][0] for answer in asked["answers"]]
        found.append([float(told[first]) for first in firsts])
    return found


def main() -> None:
    """Print what both models say."""
    asked = json.loads(Path(sys.argv[1]).read_text())
    merged = AutoModelForImageTextToText.from_pretrained(asked["merged"], dtype=torch.float32)
    base = AutoModelForImageTextToText.from_pretrained(asked["base"], dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, asked["adapter"])
    print(
        json.dumps(
            {
                "merged": log_probabilities(merged.eval(), asked["merged"], asked),
                "adapted": log_probabilities(adapted.eval(), asked["adapter"], asked),
                "adapters": [name for name, _ in adapted.named_parameters() if "lora_" in name],
            }
        )
    )


if __name__ == "__main__":
    main()
