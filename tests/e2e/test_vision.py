"""A vision model in pods: trained on images in S3, registered, and asked by vLLM about images that it has not seen."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from hack.demo.bucket import Bucket, open_bucket
from hack.demo.environment import Environment
from hack.demo.follow import wait_for_deployment, wait_for_job
from tests.e2e.jobs import NAMESPACE, applied, served
from tests.integration.test_trainer_vision import COLOURS, QUESTION, TRAINING, make_squares, square
from tests.integration.trainer_process import tiny_vision_model

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(2400)]

NAME = "colours"
ROWS = 120
ASKED = 12


def upload(bucket: Bucket, folder: Path, prefix: str) -> str:
    """Put the files of a folder below a prefix of the bucket; return its URI."""
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        bucket.client.upload_file(str(path), bucket.name, f"{prefix}/{path.relative_to(folder)}")
    return f"s3://{bucket.name}/{prefix}"


def answers_of(url: str, model: str) -> list[tuple[str, str]]:
    """Return for some images the colour that they show and the one that the model says."""
    client = OpenAI(base_url=f"{url}/v1", api_key="unused", timeout=120, max_retries=3)
    chance = random.Random(2)
    found = []
    for number in range(ASKED):
        colour = list(COLOURS)[number % 3]
        inline = base64.b64encode(square(colour, chance, side=28 + 28 * (number % 2))).decode()
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{inline}"}}
        asked: Any = [{"role": "user", "content": [image, {"type": "text", "text": QUESTION}]}]
        answer = client.chat.completions.create(model=model, messages=asked, max_tokens=8, temperature=0)
        found.append((colour, (answer.choices[0].message.content or "").strip()))
    return found


def test_a_vision_model_is_trained_registered_and_served(
    environment: Environment, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    bucket = open_bucket(environment)
    base = upload(bucket, tiny_vision_model(), "vision/base")
    rows = make_squares(tmp_path, ROWS)
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    dataset = upload(bucket, tmp_path, "vision/squares")

    job = applied(
        environment,
        NAME,
        modality="Vision",
        vision={"maxPixels": 3136},
        model={"source": base},
        dataset={"source": f"{dataset}/rows.jsonl"},
        training=TRAINING,
    )
    with job, served(environment, NAME):
        artifact = wait_for_job(environment, NAMESPACE, NAME, timeout=1200, say=lambda _: None)["status"][
            "artifact"
        ]["uri"]
        deployment = wait_for_deployment(
            environment, NAMESPACE, NAME, artifact=artifact, timeout=600, say=lambda _: None
        )
        with environment.port_forward(NAMESPACE, f"service/{NAME}", 80) as url:
            answers = answers_of(url, deployment["status"]["servedModelName"])

    right = sum(said == shown for shown, said in answers)
    figure(f"Vision: {right} of {ASKED} images told right by vLLM")
    assert right == ASKED
