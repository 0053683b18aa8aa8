"""Rows with images on local files: a tiny random Qwen2.5-VL on the CPU learns which colour a square has."""

from __future__ import annotations

import base64
import io
import json
import random
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from PIL import Image

from hack.cluster import S3Server
from modelgarden.api.artifact import Manifest
from modelgarden.api.pods import PodStorage
from modelgarden_pod.retry import Patience
from modelgarden_pod.storage import open_folder
from tests.integration.trainer_process import (
    TrainerProcess,
    make_config,
    printed_by,
    tiny_model,
    tiny_vision_model,
    trainer_python,
    write_rows,
)

PROBE = Path(__file__).with_name("vision_probe.py")
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}
QUESTION = "Which colour is the square?"
TRAINING = {
    "epochs": 6,
    "learningRate": 1e-2,
    "effectiveBatchSize": 8,
    "maxSequenceLength": 128,
    "lora": {"rank": 8, "alpha": 16},
}


def square(colour: str, chance: random.Random, *, side: int) -> bytes:
    """Return a PNG of about this colour."""
    shade = tuple(min(255, max(0, value + chance.randint(-25, 25))) for value in COLOURS[colour])
    content = io.BytesIO()
    Image.new("RGB", (side, side), shade).save(content, "PNG")
    return content.getvalue()


def make_squares(folder: Path, count: int) -> list[dict[str, Any]]:
    """Write squares of two sizes; return rows of three forms that ask for their colour."""
    chance = random.Random(1)
    (folder / "images").mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        colour = list(COLOURS)[number % 3]
        content = square(colour, chance, side=28 + 28 * (number % 2))
        path = f"images/{number}.png"
        (folder / path).write_bytes(content)
        inline = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        shown = {"type": "image_url", "image_url": {"url": inline if number % 6 > 2 else path}}
        asked = [shown, {"type": "text", "text": QUESTION}]
        rows.append(
            {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": colour}]}
        )
    return rows


def make_process(folder: Path, rows: Sequence[Mapping[str, Any]], **fields: Any) -> TrainerProcess:
    write_rows(folder / "rows.jsonl", rows)
    config = make_config(
        run_uri=str(folder / "run"),
        model=str(tiny_vision_model()),
        dataset=(folder / "rows.jsonl").as_uri(),
        vision={"maxPixels": 3136},
        training=TRAINING,
        **fields,
    )
    return TrainerProcess(trainer_python(), folder / "process", config, attempt="attempt-1")


def test_a_model_learns_what_images_show_and_what_is_exported_sees_it_too(tmp_path: Path) -> None:
    rows = make_squares(tmp_path, 120)
    process = make_process(tmp_path, rows)
    prepared = process.run("prepare")
    assert prepared.exit_code == 0, prepared.log
    ended = process.run("train")
    assert ended.exit_code == 0, ended.log

    manifest = Manifest.model_validate_json((tmp_path / "run/manifest.json").read_bytes())
    scores = {metric.name: metric for metric in manifest.evaluation.metrics}
    matches = scores["exactMatch"].tuned
    assert matches.numerator == matches.denominator  # the question is always the same: only the image tells
    assert float(scores["perplexity"].tuned.value) < float(scores["perplexity"].base.value) / 4
    used = manifest.hyperparameters
    assert used["batching"] == "padded: the model takes more than text"
    assert (used["maxPixels"], used["visionLayers"]) == ("3136", "false")
    assert "Checked the merged model" in ended.log

    merged = tmp_path / "run/artifact/merged"
    processor = json.loads((merged / "preprocessor_config.json").read_text())
    assert processor["max_pixels"] == 3136
    assert processor["size"] == {"shortest_edge": 3136, "longest_edge": 3136}
    assert processor["image_processor_type"] == "Qwen2VLImageProcessor"
    asked = tmp_path / "asked.json"
    asked.write_text(
        json.dumps(
            {
                "base": str(tiny_vision_model()),
                "merged": str(merged),
                "adapter": str(tmp_path / "run/artifact/adapter"),
                "images": [str(tmp_path / f"images/{number}.png") for number in range(6)],
                "question": QUESTION,
                "answers": list(COLOURS),
            }
        )
    )
    told = printed_by(PROBE, str(asked), folder=tmp_path)
    for number, (of_merged, of_adapted) in enumerate(zip(told["merged"], told["adapted"], strict=True)):
        assert max(range(3), key=of_merged.__getitem__) == number % 3
        assert of_merged == pytest.approx(of_adapted, abs=0.1)
    assert all("language_model" in name and "visual" not in name for name in told["adapters"])


def test_two_processes_share_rows_with_images(tmp_path: Path) -> None:
    process = make_process(tmp_path, make_squares(tmp_path, 120), gpus=2, formats=["Adapter"])
    process.variables = {"MODELGARDEN_WITHOUT_GPUS": "1"}
    prepared = process.run("prepare")
    assert prepared.exit_code == 0, prepared.log

    ended = process.run("train")

    assert ended.exit_code == 0, ended.log
    manifest = Manifest.model_validate_json((tmp_path / "run/manifest.json").read_bytes())
    scores = {metric.name: metric for metric in manifest.evaluation.metrics}
    assert manifest.hyperparameters["processes"] == "2"
    assert float(scores["perplexity"].tuned.value) < float(scores["perplexity"].base.value) / 4


def test_images_are_kept_once_and_rows_have_their_tokens(tmp_path: Path) -> None:
    rows = make_squares(tmp_path, 12)
    shutil.copyfile(tmp_path / "images/0.png", tmp_path / "images/same.png")
    both = [{"type": "image"}, {"type": "text", "text": "And these?"}, {"type": "image"}]
    rows += [
        {"messages": [{"role": "user", "content": both}, {"role": "assistant", "content": "two"}],
         "images": ["images/same.png", "images/1.png"]},
        {"messages": [{"role": "user", "content": "Any?"}, {"role": "assistant", "content": "no"}]},
    ]  # fmt: skip
    process = make_process(tmp_path, rows)
    prepared = process.run("prepare")
    assert prepared.exit_code == 0, prepared.log

    with tarfile.open(tmp_path / "run/dataset/images.tar") as archive:
        assert len(archive.getnames()) == 12
    written = [
        row
        for split in ("train", "validation")
        for row in pyarrow.parquet.read_table(tmp_path / f"run/dataset/{split}.parquet").to_pylist()
    ]
    by_question = {row["question"]: row for row in written}
    assert by_question["Any?"]["images"] == b""
    two = by_question["[image]\nAnd these?\n[image]"]
    assert len(two["images"]) == 64
    mark = two["input_ids"][
        1 + two["input_ids"].index(max(two["input_ids"][:12], key=two["input_ids"].count))
    ]
    # Both are made 56 x 56 pixels: 4 x 4 patches, four of which make a token.
    assert two["input_ids"].count(mark) == 8
    start, end = two["spans"]
    assert end == len(two["input_ids"])
    assert 0 < start < end


def test_images_are_found_beside_the_rows_in_s3(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    rows = make_squares(tmp_path, 9)
    (s3.data / "squares").mkdir()
    storage = PodStorage(endpoint=s3.endpoint, region=s3.access.region)
    shelf = open_folder("s3://squares/corpus", storage, patience=Patience(total=5))
    for path in (tmp_path / "images").iterdir():
        shelf.write(f"images/{path.name}", path.read_bytes())
    shelf.write("parts/rows.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows).encode())
    process = make_process(tmp_path, rows)
    process.config = {
        **process.config,
        "dataset": {"sources": [{"uri": f"{shelf.uri}/parts/*.jsonl"}], "validationSplit": 0.2},
        "storage": storage.to_dict(),
    }

    missed = process.run("prepare")
    for path in (tmp_path / "images").iterdir():
        shelf.write(f"parts/images/{path.name}", path.read_bytes())
    found = process.run("prepare")

    assert (missed.exit_code, missed.message.reason) == (64, "DatasetInvalid"), missed.log
    assert "the image 'images/0.png' is not there" in missed.message.message
    assert found.exit_code == 0, found.log
    with tarfile.open(tmp_path / "run/dataset/images.tar") as archive:
        assert len(archive.getnames()) == 9


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "images/0.png").unlink(), "line 1: the image 'images/0.png' is not there"),
        (
            lambda folder: (folder / "images/2.png").write_bytes(b"no image"),
            "line 3: the image 'images/2.png' is no image in one of the formats PNG",
        ),
        (
            lambda folder: (folder / "images/1.png").write_bytes((folder / "images/1.png").read_bytes()[:60]),
            "line 2: the image 'images/1.png' cannot be decoded",
        ),
    ],
    ids=["missing", "no image", "cut off"],
)
def test_an_image_that_cannot_be_seen_is_told_with_its_line(spoil: Any, told: str, tmp_path: Path) -> None:
    rows = make_squares(tmp_path, 9)
    spoil(tmp_path)

    ended = make_process(tmp_path, rows).run("prepare")

    assert (ended.exit_code, ended.message.reason) == (64, "DatasetInvalid"), ended.log
    assert told in ended.message.message


def test_a_base_that_sees_nothing_is_known_before_a_gpu_is_taken(tmp_path: Path) -> None:
    process = make_process(tmp_path, make_squares(tmp_path, 9))
    process.config = {**process.config, "modelSource": str(tiny_model())}

    ended = process.run("prepare")

    assert (ended.exit_code, ended.message.reason) == (64, "ModelInvalid"), ended.log
    assert (
        "is of the kind llama, and modality Vision trains those of the kinds qwen2_vl"
        in ended.message.message
    )


def test_a_base_without_its_processor_is_told_which_file_is_missing(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_vision_model(), model)
    (model / "preprocessor_config.json").unlink()
    process = make_process(tmp_path, make_squares(tmp_path, 9))
    process.config = {**process.config, "modelSource": str(model)}

    ended = process.run("prepare")

    assert (ended.exit_code, ended.message.reason) == (64, "ModelInvalid"), ended.log
    assert "has neither preprocessor_config.json nor processor_config.json" in ended.message.message
