"""The command train, from the prepared dataset to the manifest: the story of one attempt."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelgarden.api.artifact import BaseEvaluation
from modelgarden.api.documents import TRAIN_IMAGE, DocumentError
from modelgarden.api.finetunejob import Method
from modelgarden.api.pods import TerminationMessage
from modelgarden_pod.energy import EnergyMeter, memory_limit_bytes
from modelgarden_pod.http import json_route, metrics_route, ready_route, serve_routes
from modelgarden_train.artifact import publish as publishing
from modelgarden_train.artifact.export import Export
from modelgarden_train.artifact.results import Results
from modelgarden_train.artifact.room import bytes_in_16_bit, require_room
from modelgarden_train.attempt.checkpoints import restore_newest
from modelgarden_train.attempt.emissions import Attempts
from modelgarden_train.attempt.progress import ProgressBoard
from modelgarden_train.attempt.run import Run
from modelgarden_train.attempt.signals import StopRequest
from modelgarden_train.attempt.uploads import CheckpointUploader
from modelgarden_train.data.chat import complete_tokenizer
from modelgarden_train.data.prepared import PreparedDataset, PreparedRow, read_dataset
from modelgarden_train.evaluation.scores import ModelResult, combine, evaluate_model
from modelgarden_train.models.base_model import BaseModel, fetch_base_model
from modelgarden_train.models.environment import go_offline
from modelgarden_train.models.loading import (
    import_unsloth,
    load_model,
    load_tokenizer,
    release_memory,
    with_adapters,
)
from modelgarden_train.objectives.arguments import hyperparameters, total_steps
from modelgarden_train.objectives.fitting import train_within_memory
from modelgarden_train.objectives.memory import StepPlan, first_plan, model_does_not_fit
from modelgarden_train.objectives.scope import Checkpoint, Scope
from modelgarden_train.objectives.sft import sft_trainer

Rows = Sequence[PreparedRow]

logger = logging.getLogger(__name__)

BASE_SCORES = "base-evaluation.json"
TERMINATION_UPLOAD_SECONDS = 75.0
"""Of the pod's 120 s of grace, so that the emissions can still be saved."""


def train(run: Run, *, stop: StopRequest, port: int) -> TerminationMessage:
    """Train, evaluate, export and publish a run, from its newest checkpoint on.

    Raises:
        UserError: the input is wrong; the reason says which.
        TemporaryError: storage does not answer.
        Terminated: SIGTERM; the newest checkpoint is in storage.
    """
    if done := publishing.published(run.folder):
        return done
    meter = EnergyMeter(run.config.carbon, attempt=run.attempt, gpus=run.config.gpus)
    attempts = Attempts(run.folder, attempt=run.attempt, meter=meter)
    board = ProgressBoard(run.attempt, emissions=attempts.total, outage=run.patience.outage)
    with attempts.metered():
        serve_routes(
            {
                "/progress": json_route(board.report),
                "/metrics": metrics_route(board.metrics()),
                "/readyz": ready_route(lambda: True),
            },
            port=port,
        )
        attempt_of_run = TrainingAttempt(run, stop=stop, board=board, attempts=attempts)
        return _within_memory(run.config.method, attempt_of_run.finish)


def _within_memory(method: Method, work: Callable[[], TerminationMessage]) -> TerminationMessage:
    """Name the failure where the GPU cannot even hold the model; training meets it by itself first."""
    from torch import OutOfMemoryError

    try:
        return work()
    except OutOfMemoryError as error:
        raise model_does_not_fit(method, error) from error


@dataclass(frozen=True)
class BoardWatcher:
    """Shows a training on the board and has its checkpoints uploaded."""

    board: ProgressBoard
    uploader: CheckpointUploader
    stop: StopRequest

    @property
    def stopping(self) -> bool:
        return self.stop.received

    @property
    def newest(self) -> Checkpoint | None:
        return self.uploader.newest_local

    def resolved(self, hyperparameters: dict[str, str]) -> None:
        self.board.resolved(hyperparameters)

    def step(self, step: int, *, total: int, epoch: float, tokens: int, loss: float | None) -> None:
        self.board.step(step, total=total, epoch=epoch, tokens=tokens, loss=loss)

    def gpu_memory(self, mib: int | None) -> None:
        self.board.update(gpu_memory_mib=mib)

    def saved(self, checkpoint: Checkpoint) -> None:
        self.uploader.submit(checkpoint)


class TrainingAttempt:
    """The steps of one attempt, in their order."""

    def __init__(self, run: Run, *, stop: StopRequest, board: ProgressBoard, attempts: Attempts) -> None:
        self._run = run
        self._config = run.config
        self._stop = stop
        self._board = board
        self._attempts = attempts
        self._base_scores = run.workspace / BASE_SCORES
        self._checkpoints = run.workspace / "checkpoints"

    def finish(self) -> TerminationMessage:
        """Do all steps."""
        self._stage("Restoring")
        dataset = read_dataset(self._run.folder, scratch=self._run.workspace)
        self._resume = restore_newest(self._run.folder, self._checkpoints)
        if self._resume:
            logger.info("Resuming", extra={"step": self._resume.step})
            self._board.resumed(self._resume.step, total=self._total_steps(dataset))

        self._stage("Loading")
        base = fetch_base_model(
            self._config,
            self._run.workspace / "model",
            weights=True,
            patience=self._run.patience,
            prepared_with=dataset.report,
        )
        self._board.revision(base.revision)
        go_offline()
        import_unsloth(self._config)
        self._require_room_to_merge(base)
        self._tokenizer = load_tokenizer(base.path)
        complete_tokenizer(self._tokenizer)

        held_out = dataset.validation[: self._config.evaluation.max_rows]
        before = self._evaluate_base(base, held_out)
        self._uploader = CheckpointUploader(
            self._run.folder,
            keep=self._config.checkpoint.keep,
            attempt=self._run.attempt,
            uploaded=self._checkpoint_uploaded,
        )
        # The last checkpoint goes up beside what follows; once the manifest is there, it is of no use any more.
        with self._uploader.saved_when_terminated(TERMINATION_UPLOAD_SECONDS):
            return self._make(base, dataset, before=before, held_out=held_out)

    def _make(
        self, base: BaseModel, dataset: PreparedDataset, *, before: ModelResult, held_out: Rows
    ) -> TerminationMessage:
        """Train, and make the artifact of what was trained."""
        model, scope, plan = self._train(base, dataset)
        self._stage("EvaluatingTuned")
        after = self._evaluate(model, held_out)

        self._stage("Exporting")
        target = self._run.workspace / "export"
        export = Export(self._config, base=base.path, target=target, tokenizer=self._tokenizer)
        export.save_trained(model, held_out)
        del model
        release_memory()
        formats = export.finish()
        results = Results(
            base_model=base.record(),
            dataset=dataset.report,
            hyperparameters=hyperparameters(scope, plan),
            evaluation=combine(held_out, base=before, tuned=after),
            formats=formats,
            artifact=target,
        )
        self._stage("Uploading")
        files = publishing.upload_artifact(self._run.folder, results)
        return publishing.publish(
            self._run.folder, self._config, results, files=files, records=self._attempts.records("Completed")
        )

    def _stage(self, name: str) -> None:
        """Begin a stage, unless SIGTERM has come: a library may have swallowed what the handler raised in it."""
        self._stop.check()
        self._board.stage(name)

    def _total_steps(self, dataset: PreparedDataset) -> int:
        training = self._config.training
        return total_steps(
            len(dataset.training), effective_batch=training.effective_batch_size, epochs=training.epochs
        )

    def _require_room_to_merge(self, base: BaseModel) -> None:
        if self._config.method != "QLoRA" or "Merged16Bit" not in self._config.formats:
            return
        import torch

        _, gpu = torch.cuda.mem_get_info()
        require_room(bytes_in_16_bit(base.path), gpu=gpu, memory=memory_limit_bytes())

    def _evaluate_base(self, base: BaseModel, rows: Rows) -> ModelResult:
        """Score the base model, or take the scores that came with the checkpoint."""
        if self._resume:
            kept = self._resume.path / BASE_SCORES
            if kept.exists():
                self._base_scores.write_text(kept.read_text())
        if (known := self._known_base()) is not None:
            return known
        self._stage("EvaluatingBase")
        model = self._load(base.path)
        result = self._evaluate(model, rows)
        del model
        release_memory()
        document = BaseEvaluation(scores=result.scores, answers=result.answers)
        self._base_scores.write_text(document.model_dump_json(by_alias=True))
        return result

    def _known_base(self) -> ModelResult | None:
        if not self._base_scores.exists():
            return None
        try:
            known = BaseEvaluation.read(self._base_scores.read_bytes(), reader=TRAIN_IMAGE)
        except DocumentError as error:
            logger.warning("The base model is evaluated again", extra={"error": str(error)})
            return None
        return ModelResult(scores=known.scores, answers=known.answers)

    def _train(self, base: BaseModel, dataset: PreparedDataset) -> tuple[Any, Scope, StepPlan]:
        """Train to the end; on SIGTERM leave with the step saved."""
        self._stage("Training")
        scope = Scope(
            config=self._config,
            tokenizer=self._tokenizer,
            rows=dataset.training,
            checkpoints=self._checkpoints,
            base_scores=self._base_scores,
            watcher=BoardWatcher(self._board, self._uploader, self._stop),
        )
        first = first_plan(
            effective_batch=self._config.training.effective_batch_size,
            longest_row=dataset.report.longest_row_tokens,
            gpu=self._config.gpus > 0,
        )
        with self._stop.deferred():
            model, plan = train_within_memory(
                scope,
                sft_trainer,
                lambda plan: self._load_to_train(base.path, plan),
                plan=first,
                resume=self._resume,
            )
        self._stop.check()
        self._uploader.check()
        return model, scope, plan

    def _checkpoint_uploaded(self, step: int) -> None:
        # Before the checkpoint is told: whoever ends the pod for it loses no energy.
        self._attempts.save()
        self._board.update(checkpoint_step=step)

    def _load(self, path: Path) -> Any:
        return load_model(self._config, path, four_bit=self._config.method == "QLoRA")

    def _load_to_train(self, path: Path, plan: StepPlan) -> Any:
        model = load_model(
            self._config,
            path,
            four_bit=self._config.method == "QLoRA",
            gradient_checkpointing=plan.gradient_checkpointing,
        )
        return with_adapters(self._config, model, gradient_checkpointing=plan.gradient_checkpointing)

    def _evaluate(self, model: Any, rows: Rows) -> ModelResult:
        return evaluate_model(
            model, self._tokenizer, rows, max_new_tokens=self._config.evaluation.max_new_tokens
        )
