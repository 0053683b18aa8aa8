"""What prepared rows depend on: all that can change them, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from modelgarden.api.finetunejob import Objective
from modelgarden.api.pods import RunConfig
from modelgarden_train.data.identity import identity_of
from tests.unit.train.builders import make_config

LIBRARIES = {"tokenizers": "1"}


def identity(config: RunConfig, **fields: Any) -> str:
    given: dict[str, Any] = {"sources": ["a" * 64], "tokenizer": "b" * 64, "libraries": LIBRARIES}
    return identity_of(config, **(given | fields))


def changed(**fields: Any) -> RunConfig:
    return make_config().model_copy(update=fields)


BASE = make_config()
DATASET, TRAINING = BASE.dataset, BASE.training


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(changed(dry_run=True), id="rows that no training learns may be there"),
        pytest.param(changed(objective=Objective(type="DPO")), id="what is learned"),
        pytest.param(changed(training=TRAINING.model_copy(update={"seed": 1})), id="seed"),
        pytest.param(
            changed(training=TRAINING.model_copy(update={"max_sequence_length": 17})), id="longest row"
        ),
        pytest.param(changed(dataset=DATASET.model_copy(update={"test_split": 0.2})), id="splits"),
        pytest.param(changed(dataset=DATASET.model_copy(update={"chat_template": "{{ 1 }}"})), id="template"),
        pytest.param(
            changed(
                dataset=DATASET.model_copy(
                    update={"quality": DATASET.quality.model_copy(update={"min_tokens": 9})}
                )
            ),
            id="quality",
        ),
        pytest.param(
            changed(dataset=DATASET.model_copy(update={"sources": DATASET.sources * 2})), id="sources"
        ),
        pytest.param(
            changed(
                dataset=DATASET.model_copy(update={"sources": (), "validation_sources": DATASET.sources})
            ),
            id="what a source is for",
        ),
    ],
)
def test_settings_that_change_the_rows_change_the_identity(other: RunConfig) -> None:
    assert identity(other) != identity(BASE)


@pytest.mark.parametrize(
    "fields",
    [{"sources": ["c" * 64]}, {"tokenizer": "c" * 64}, {"libraries": {"tokenizers": "2"}}],
    ids=["bytes of the dataset", "tokenizer", "library"],
)
def test_inputs_that_change_the_rows_change_the_identity(fields: dict[str, Any]) -> None:
    assert identity(BASE, **fields) != identity(BASE)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(changed(run_uri="s3://elsewhere/run", model_name="other"), id="run"),
        pytest.param(changed(method="Full", gpus=1), id="method"),
        pytest.param(
            changed(training=TRAINING.model_copy(update={"learning_rate": 0.5, "epochs": 9})),
            id="hyperparameters",
        ),
        pytest.param(
            changed(
                dataset=DATASET.model_copy(
                    update={
                        "sources": tuple(
                            one.model_copy(update={"token_secret_ref": {"name": "other"}})
                            for one in DATASET.sources
                        )
                    }
                )
            ),
            id="secret",
        ),
    ],
)
def test_what_a_sweep_changes_leaves_the_identity(other: RunConfig) -> None:
    assert identity(other) == identity(BASE)
