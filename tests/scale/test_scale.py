"""1,000 FineTuneJobs at once stay within the limits of the operator's resources."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.scale import Limits, run

JOBS = 1000


@pytest.mark.scale
@pytest.mark.timeout(1800)
def test_a_thousand_jobs_at_once_stay_within_the_limits(tmp_path: Path) -> None:
    figures = run(count=JOBS, nodes=10, folder=tmp_path)
    assert figures.exceeded(Limits()) == [], figures
