"""The steps of a FineTuneJob in their order. Each looks at what decides its part, and plans its part: `Step`."""

from __future__ import annotations

from typing import Final

from modelgarden.finetune.steps import acceptance, dry_run, fit, prepare, publish, register, train
from modelgarden.finetune.steps.step import Step

STEPS: Final = (
    Step(observe=acceptance.observe, plan=acceptance.plan),
    Step(observe=prepare.observe, plan=prepare.plan),
    Step(observe=fit.observe, plan=fit.plan),
    Step(observe=dry_run.observe, plan=dry_run.plan),
    Step(observe=train.observe, plan=train.plan),
    Step(observe=register.observe, plan=register.plan),
    Step(observe=publish.observe, plan=publish.plan),
)
