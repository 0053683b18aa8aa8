"""What the steps look with: one reconcile's access to the API server, to S3 and to the running pods."""

from __future__ import annotations

from dataclasses import dataclass

from modelgarden.controller.means import Means
from modelgarden.controller.storage import OpenStore
from modelgarden.finetune.parents import Parents
from modelgarden.finetune.progress import ProgressReports
from modelgarden.finetune.subject import Subject
from modelgarden.registry.inputs import Inputs


@dataclass(frozen=True)
class Look:
    """One reconcile of one FineTuneJob."""

    subject: Subject
    means: Means
    store: OpenStore
    inputs: Inputs
    parents: Parents
    progress: ProgressReports
