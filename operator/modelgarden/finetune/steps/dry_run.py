"""Between the second step and the third: a dry run has come to its end once the dataset is prepared."""

from __future__ import annotations

from modelgarden.api.conditions import COMPLETE
from modelgarden.controller.conditions import Finding
from modelgarden.controller.times import timestamp
from modelgarden.finetune.look import Look
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.outcome import Outcome
from modelgarden.finetune.steps import fit
from modelgarden.finetune.steps.step import FineTuneView


async def observe(look: Look, seen: Observation) -> Observation:
    """Look at nothing."""
    return seen


def plan(view: FineTuneView) -> Outcome:
    """Complete a dry run; any other job goes on."""
    if not view.subject.spec.dry_run:
        return Outcome(done=True)
    return Outcome(
        findings=(Finding(COMPLETE, True, "DryRun", _message(view)),),
        fields={"completion_time": timestamp(view.now)},
    )


def _message(view: FineTuneView) -> str:
    seen = "status.dataset and status.estimate" if fit.is_estimated(view) else "status.dataset"
    told = (
        f"The dataset is checked and prepared, see {seen}. spec.dryRun is true, so nothing is trained; create a "
        "FineTuneJob without it to train."
    )
    problem = fit.problem_of(view)
    return told if problem is None else f"{told} Training would not start as it is: {problem.message}"
