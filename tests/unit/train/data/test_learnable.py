"""Rows with labels have both."""

from __future__ import annotations

import pytest

from modelgarden_pod.errors import UserError
from modelgarden_train.data.learnable import require_both_labels


@pytest.mark.parametrize("labels", [[], [None, None], [True, False, True]])
def test_rows_without_labels_or_with_both_are_right(labels: list[bool | None]) -> None:
    require_both_labels(labels)


@pytest.mark.parametrize(("label", "other"), [(True, "false"), (False, "true")])
def test_one_label_alone_is_told_with_what_is_missing(label: bool, other: str) -> None:
    with pytest.raises(UserError) as raised:
        require_both_labels([label] * 7)

    assert raised.value.reason == "DatasetInvalid"
    assert raised.value.message.startswith(f"all 7 rows to train on have the label {str(label).lower()}, ")
    assert f"add rows with the label {other}" in raised.value.message
    assert ("to learn good answers alone" in raised.value.message) == label, "bad ones are not to be learned"
