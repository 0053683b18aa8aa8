"""What becomes of a row for what is found in it."""

from __future__ import annotations

import pytest

from modelgarden.api.finetunejob import FIELD_OF_REASON, Quality
from modelgarden_train.data.quality.findings import KEPT, Finding, Verdict, verdict

EMAIL, SECRET, SWEARING = Finding("Email"), Finding("Secret", "Slack Token"), Finding("Profanity")


@pytest.mark.parametrize(
    ("quality", "expected"),
    [
        (Quality(), KEPT),
        (Quality(emails="Flag", secrets="Flag"), Verdict("Flag", (SECRET, EMAIL))),
        (Quality(emails="Drop", secrets="Flag"), Verdict("Drop", (EMAIL,))),
        (Quality(emails="Drop", secrets="Drop"), Verdict("Drop", (SECRET,))),
        (Quality(emails="Drop", secrets="Drop", profanity="Fail"), Verdict("Fail", (SWEARING,))),
    ],
)
def test_the_hardest_action_counts(quality: Quality, expected: Verdict) -> None:
    assert verdict([EMAIL, SWEARING, SECRET], quality) == expected
    assert verdict([], quality) == KEPT


def test_every_reason_has_a_field_and_every_action_field_a_reason() -> None:
    settings = {"near_duplicate_threshold", "min_tokens"}

    assert set(FIELD_OF_REASON.values()) == set(Quality.model_fields) - settings
