"""Between the second step and the third: what will the training take, and is there a GPU that it can fit?

A training that cannot fit is held back before it takes a GPU. That ends nothing: when a node with a larger one joins, the
job goes on by itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from modelgarden.api.conditions import RUNNING, Problem
from modelgarden.api.finetunejob import Needs
from modelgarden.controller.conditions import Finding
from modelgarden.finetune.estimate import Work, does_not_fit, estimate_of
from modelgarden.finetune.look import Look
from modelgarden.finetune.observation import Observation
from modelgarden.finetune.outcome import Outcome
from modelgarden.finetune.steps.prepare import prepared
from modelgarden.finetune.steps.step import FineTuneView
from modelgarden.finetune.subject import Subject

LOOK_SECONDS: Final = 10.0
"""Between two looks for a larger GPU; the nodes' labels are kept as long."""


async def observe(look: Look, seen: Observation) -> Observation:
    """Look at the GPUs of the nodes where the training is still to be estimated."""
    if _needs(look.subject, seen) is None:
        return seen
    selector = look.subject.spec.pod_template.node_selector
    return replace(seen, gpus=await look.means.gpus.allowed(selector))


def plan(view: FineTuneView) -> Outcome:
    """Tell the estimate; hold a training back that cannot fit."""
    work = _work(view)
    if work is None:
        return Outcome(done=True)
    told = Outcome(fields={"estimate": estimate_of(work, view.seen.gpus, view.settings)}, done=True)
    problem = problem_of(view)
    if problem is None or view.subject.spec.dry_run:
        return told
    return told.then(Outcome(findings=(Finding.against(RUNNING, problem),), requeue_after=LOOK_SECONDS))


def problem_of(view: FineTuneView) -> Problem | None:
    """Return why the training fits no GPU, None where it may."""
    work = _work(view)
    return None if work is None else does_not_fit(work, view.seen.gpus)


def is_estimated(view: FineTuneView) -> bool:
    """Tell whether status.estimate says what the training will take: not on a CPU, nor of a model of unknown size."""
    return _work(view) is not None


def _work(view: FineTuneView) -> Work | None:
    needs = _needs(view.subject, view.seen)
    dataset = prepared(view.seen)[0] or view.subject.status.dataset
    if needs is None or dataset is None:
        return None
    return Work(
        view.subject.spec,
        needs,
        rows=dataset.training_rows,
        tokens=dataset.tokens,
        validation_rows=dataset.validation_rows,
    )


def _needs(subject: Subject, seen: Observation) -> Needs | None:
    """Return what is to be estimated; None on a CPU, and once a pod of the training was there."""
    if not subject.spec.resources.gpus or seen.train is not None or subject.status.attempts:
        return None
    known = subject.status.estimate
    return prepared(seen)[1] or (known.needs if known is not None else None)
