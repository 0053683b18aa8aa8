"""The classifier's model is in its package and reads with the scikit-learn that is locked."""

from __future__ import annotations

from modelgarden_train.data.quality.profanity import offensive


def test_swearing_is_told_from_ordinary_texts() -> None:
    texts = ["go to hell, you scum", "Good day, what is the capital of France?", "what a wanker", "SELECT 1"]

    assert offensive(texts) == [True, False, True, False]
    assert offensive([]) == []
