"""How long a row may be for a base model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from modelgarden.api.finetunejob import Training
from modelgarden_train.models.positions import within_positions
from tests.unit.train.builders import make_config


def model(**text: Any) -> SimpleNamespace:
    return SimpleNamespace(get_text_config=lambda: SimpleNamespace(**text))


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param({"max_position_embeddings": 1024}, 1024, id="fewer positions than the spec says"),
        pytest.param({"max_position_embeddings": 131_072}, 2048, id="more"),
        pytest.param({}, 2048, id="positions that have no end"),
        pytest.param({"max_position_embeddings": None}, 2048, id="none that are told"),
        pytest.param({"max_position_embeddings": -1}, 2048, id="no number of positions"),
    ],
)
def test_a_row_is_no_longer_than_the_base_model_has_positions_for(text: dict[str, Any], want: int) -> None:
    config = make_config(training=Training(max_sequence_length=2048))

    assert within_positions(config, model(**text)) == want
