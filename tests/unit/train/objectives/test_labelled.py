"""What the loss is on."""

from __future__ import annotations

from modelgarden_train.data.prepared import PreparedRow
from modelgarden_train.objectives.labelled import IGNORED_LABEL, labelled


def test_the_loss_is_on_every_span_and_on_nothing_else() -> None:
    row = PreparedRow(input_ids=[11, 12, 13, 14, 15, 16], spans=((1, 3), (4, 5)), question="", answer="")

    found = labelled(row)

    assert found == {
        "input_ids": [11, 12, 13, 14, 15, 16],
        "labels": [IGNORED_LABEL, 12, 13, IGNORED_LABEL, 15, IGNORED_LABEL],
    }
